// SPDX-License-Identifier: Apache-2.0
//
// The texts of `nibble explain`. Tests hold that both languages are there and that every command is one that nibble
// understands.
#include <array>

#include "report/topics.h"
#include "report/training_topics.h"

namespace nibble {
namespace {

using Names = std::string_view;

// --- 8 bits ----------------------------------------------------------------------------------------------------------

constexpr std::array kInt8Names = {Names("8")};
constexpr std::array kInt8Formats = {Names("q8_0"), Names("int8:row")};
constexpr std::array kInt8Process = {
    Bilingual{"Take a group of weights: a row of the matrix (int8:row), 32 neighbours (q8_0), or the whole tensor "
              "(int8:tensor).",
              "取一组权重：矩阵的一行（int8:row）、相邻的 32 个（q8_0），或整个张量（int8:tensor）。"},
    Bilingual{"Scale = largest magnitude / 127; the asymmetric form has scale = (max - min) / 255 and a zero point.",
              "尺度 scale = 最大绝对值 / 127；非对称形式为 scale = (max - min) / 255，另有一个零点 zero。"},
    Bilingual{
        "Code q = round(x / scale) + zero, cut to -128 .. 127. What is stored: one byte a weight, one scale a group.",
        "编码 q = round(x / scale) + zero，截断到 -128 .. 127。每个权重存一个字节，每组存一个尺度。"},
    Bilingual{"Running: x ~ scale * (q - zero). Products are taken of the bytes and scaled afterwards.",
              "运行时 x ~ scale * (q - zero)：先用字节相乘累加，最后再乘尺度。"}};
constexpr std::array kInt8Commands = {
    TopicCommand{"nibble quantize models/fable-5M -f q8_0 -o fable-q8_0.gguf",
                 {"a GGUF file that llama.cpp loads", "写出 llama.cpp 可加载的 GGUF 文件"}},
    TopicCommand{"nibble quantize models/fable-5M -f int8:row -o fable-int8",
                 {"planar, in a Hugging Face directory", "平面格式，写成 Hugging Face 目录"}},
    TopicCommand{"nibble eval fable-q8_0.gguf --against models/fable-5M --text models/fable-5M/heldout.txt",
                 {"what it cost, against the original", "与原模型对比，看损失多少"}},
    TopicCommand{"nibble explain --format int8:tensor:asym --range -2.5,3.0 3.0 0.0 -2.5",
                 {"the arithmetic on three numbers", "用三个数演示计算"}}};

// --- 6, 5 bits -------------------------------------------------------------------------------------------------------

constexpr std::array kSixNames = {Names("6")};
constexpr std::array kSixFormats = {Names("q6_k"), Names("int6:g64")};
constexpr std::array kSixProcess = {
    Bilingual{"q6_k: super-blocks of 256 in sub-blocks of 16; a sub-block's scale is an 8-bit integer times one "
              "half-precision number.",
              "q6_k：每 256 个权重为一个超块，内分 16 个一组的子块；子块尺度 = 8 位整数 × 一个半精度数。"},
    Bilingual{"Each code is one of 64 evenly spaced points, -32 .. 31.", "每个编码取 64 个等距点之一：-32 .. 31。"},
    Bilingual{"Both levels of scales are searched for the least squared error.",
              "两级尺度都通过搜索选取，使平方误差最小。"}};
constexpr std::array kSixCommands = {TopicCommand{"nibble quantize models/fable-5M -f q6_k -o fable-q6_k.gguf",
                                                  {"every matrix in 6.56 bits", "所有矩阵都用 6.56 位"}},
                                     TopicCommand{"nibble compare models/fable-5M -f q8_0,q6_k,q5_k_m",
                                                  {"is the step to 5 bits worth it?", "看降到 5 位是否值得"}}};

constexpr std::array kFiveNames = {Names("5")};
constexpr std::array kFiveFormats = {Names("q5_k_m"), Names("int5:g64")};
constexpr std::array kFiveProcess = {
    Bilingual{
        "q5_k: 256 weights in sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum: x ~ scale * q - minimum, "
        "q in 0 .. 31.",
        "q5_k：256 个权重分成 32 个一组的子块，各有 6 位尺度与 6 位最小值：x ~ scale * q - minimum，q 取 0 .. 31。"},
    Bilingual{"The mix q5_k_m keeps half of the v and down projections in 6 bits.",
              "混合方案 q5_k_m 把一半的 v 与 down 投影保留在 6 位。"}};
constexpr std::array kFiveCommands = {
    TopicCommand{"nibble quantize models/fable-5M -f q5_k_m -o fable-q5_k_m.gguf", {"the mix", "混合方案"}},
    TopicCommand{"nibble recipe show q5_k_m", {"its rules", "查看它的规则"}}};

// --- 4 bits ----------------------------------------------------------------------------------------------------------

constexpr std::array kInt4Names = {Names("4")};
constexpr std::array kInt4Formats = {Names("q4_k_m"),    Names("q4_k"),     Names("q4_0"),         Names("int4:g32"),
                                     Names("int4:g128"), Names("int4:row"), Names("int4:g32:asym")};
constexpr std::array kInt4Process = {
    Bilingual{"16 points are few: a group must be small (32 to 128 weights), so that one large weight coarsens only "
              "its neighbours.",
              "只有 16 个点，组必须小（32 到 128 个权重），这样一个大权重只会影响它的邻居。"},
    Bilingual{"Scale: the plain rule is largest magnitude / 7.5; searched scales cut the largest weights a little and "
              "leave a smaller error overall.",
              "尺度：朴素规则是 最大绝对值 / 7.5；搜索得到的尺度会略微截断最大的权重，换来更小的总误差。"},
    Bilingual{"Code q = round(x / scale), cut to -8 .. 7. Two codes share a byte.",
              "编码 q = round(x / scale)，截断到 -8 .. 7；两个编码共用一个字节。"},
    Bilingual{"q4_k adds a minimum per 32 weights and stores scales and minima in 6 bits: 4.5 bits a weight in all.",
              "q4_k 再为每 32 个权重加一个最小值，尺度和最小值各用 6 位存储：每个权重共 4.5 位。"}};
constexpr std::array kInt4Commands = {
    TopicCommand{"nibble quantize models/fable-5M -f q4_k_m -o fable-q4_k_m.gguf",
                 {"the usual choice for llama.cpp", "llama.cpp 用户的常用选择"}},
    TopicCommand{"nibble quantize models/fable-5M -f int4:g128 --method mse -o fable-int4",
                 {"planar, grids searched for the least squared error", "平面格式，以最小平方误差搜索网格"}},
    TopicCommand{"nibble compare models/fable-5M -f q4_k_m,q4_0,int4:g32,int4:g128",
                 {"group sizes and layouts side by side", "并排比较组大小与布局"}},
    TopicCommand{"nibble explain --format int4:row --fit absmax 3 0 -2.5",
                 {"the arithmetic on three numbers", "用三个数演示计算"}}};

// --- 3 bits ----------------------------------------------------------------------------------------------------------

constexpr std::array kThreeNames = {Names("3")};
constexpr std::array kThreeFormats = {Names("q3_k_m"), Names("iq3_xxs"), Names("int3:g32"), Names("int3:g64"),
                                      Names("table3:row")};
constexpr std::array kThreeProcess = {
    Bilingual{"8 evenly spaced points per group (int3, q3_k), or 8 points learned for each row by k-means (table3).",
              "每组 8 个等距点（int3、q3_k），或用 k-means 为每行学习 8 个点（table3）。"},
    Bilingual{"iq3 codes four weights at a time as one of 256 or 512 vectors: at equal size the error is smaller, "
              "encoding and decoding take longer.",
              "iq3 把四个权重一起编码为 256 或 512 个向量之一：同样大小误差更小，但编码和解码更慢。"}};
constexpr std::array kThreeCommands = {
    TopicCommand{"nibble quantize models/fable-5M -f q3_k_m -o fable-q3_k_m.gguf",
                 {"the mix: 3 bits, sensitive matrices at 4 to 5", "混合方案：3 位，敏感矩阵用 4 到 5 位"}},
    TopicCommand{"nibble quantize models/fable-5M -f table3:row -o fable-table3", {"learned points", "学习得到的点"}}};

// --- 2 bits ----------------------------------------------------------------------------------------------------------

constexpr std::array kInt2Names = {Names("2")};
constexpr std::array kInt2Formats = {Names("q2_k"), Names("iq2_xxs"), Names("int2:g32"), Names("int2:g32:signed"),
                                     Names("int2:g32:half")};
constexpr std::array kInt2Process = {
    Bilingual{"Four points: {-2, -1, 0, 1} (int2), the same with a scale of either sign (int2:signed), {-3/2, -1/2, "
              "1/2, 3/2} "
              "(int2:half), or a zero point per group (int2:asym).",
              "只有四个点：{-2, -1, 0, 1}（int2），同样的点但尺度可正可负（int2:signed），{-3/2, -1/2, 1/2, "
              "3/2}（int2:half），"
              "或每组一个零点（int2:asym）。"},
    Bilingual{"The plain rule wastes the points on rare large weights; the scale must be searched (nibble's default "
              "below 7 bits).",
              "朴素规则会把点浪费在少数大权重上，因此尺度必须搜索（低于 7 位时这是 nibble 的默认做法）。"},
    Bilingual{"q2_k stores 4-bit scales and minima per 16 weights; iq2 codes eight weights at a time as vectors of a "
              "lattice.",
              "q2_k 为每 16 个权重存 4 位的尺度与最小值；iq2 把八个权重一起编码为格点向量。"}};
constexpr std::array kInt2Commands = {
    TopicCommand{"nibble quantize models/fable-5M -f mix:q2_k -o fable-q2_k.gguf",
                 {"2 bits with sensitive matrices at 3 to 4", "2 位，敏感矩阵用 3 到 4 位"}},
    TopicCommand{"nibble quantize models/fable-5M -f int2:g32:signed -o fable-int2",
                 {"the best of the symmetric forms here", "此处对称形式中最好的一种"}},
    TopicCommand{"nibble eval fable-q2_k.gguf --against models/fable-5M --text models/fable-5M/heldout.txt",
                 {"always measure: 2 bits can ruin a model", "务必实测：2 位可能毁掉模型"}}};

// --- mixed -----------------------------------------------------------------------------------------------------------

constexpr std::array kMixedNames = {Names("mix"), Names("recipe")};
constexpr std::array kMixedFormats = {Names("q5_k_m"), Names("q4_k_m"), Names("q4_k"), Names("q3_k_m"), Names("q2_k")};
constexpr std::array kMixedProcess = {
    Bilingual{"Not all matrices are equally sensitive: v, down, the embedding and the output head, and the first and "
              "last layers suffer most.",
              "各矩阵的敏感程度不同：v、down、词嵌入与输出头，以及最前和最后几层受损最大。"},
    Bilingual{"A recipe is a list of rules, pattern -> format; the first rule that matches a tensor decides.",
              "配方（recipe）是一串规则：名称模式 -> 格式；第一条匹配的规则起作用。"},
    Bilingual{
        "llama.cpp's mixes (q4_k_m, ...) are such recipes: 4 bits for most, 6 for half of the v and down projections.",
        "llama.cpp 的混合方案（q4_k_m 等）就是这样的配方：大部分 4 位，一半的 v 与 down 投影 6 位。"},
    Bilingual{"Your own recipe is a JSON file: print one, change it, hand it back.",
              "自己的配方就是一个 JSON 文件：打印一份，改好，再交回去。"}};
constexpr std::array kMixedCommands = {
    TopicCommand{"nibble recipe show q4_k_m", {"the rules of a mix", "查看混合方案的规则"}},
    TopicCommand{
        "nibble recipe show q4_k_m --json",
        {"the same as JSON: save it, edit it, use it with --recipe", "同样内容的 JSON：保存、修改后用 --recipe 使用"}},
    TopicCommand{"nibble quantize models/fable-5M -f q4_k_m --dry-run --verbose",
                 {"which tensor gets what, in how many bytes", "每个张量用什么格式、多少字节"}},
    TopicCommand{"nibble quantize models/fable-5M -f q4_k --head q6_k -o fable.gguf",
                 {"one format, a finer head", "统一格式，但输出头更精细"}}};

// --- ternary, binary -------------------------------------------------------------------------------------------------

constexpr std::array kTernaryNames = {Names("1.58"), Names("bitnet")};
constexpr std::array kTernaryFormats = {Names("ternary:row"), Names("tq2_0")};
constexpr std::array kTernaryProcess = {
    Bilingual{"Weights become -1, 0 or 1 times one scale.", "权重变成 -1、0 或 1，再乘一个尺度。"},
    Bilingual{"absmean (BitNet b1.58): scale = mean |x|, round to the nearest of the three.",
              "absmean（BitNet b1.58）：scale = |x| 的均值，就近取三者之一。"},
    Bilingual{"threshold (Ternary Weight Networks): keep |x| > 0.7 mean |x|, scale = the mean of what is kept.",
              "threshold（三值权重网络 TWN）：保留 |x| > 0.7 · |x| 的均值，尺度 = 被保留者的均值。"},
    Bilingual{"search: the scale and the kept set with the least squared error, found exactly.",
              "search：精确求出平方误差最小的尺度与保留集合。"}};
constexpr std::array kTernaryCommands = {
    TopicCommand{"nibble quantize models/fable-5M -f ternary:row --fit absmean -o fable-ternary",
                 {"the rule of BitNet b1.58", "BitNet b1.58 的规则"}},
    TopicCommand{"nibble quantize models/fable-5M -f tq2_0 -o fable-tq2_0.gguf",
                 {"ternary blocks for llama.cpp", "供 llama.cpp 使用的三值块"}},
    TopicCommand{"nibble explain --format ternary:row --fit threshold 1 -0.6 0.2 0.9",
                 {"the threshold rule on four numbers", "用四个数演示阈值规则"}}};

constexpr std::array kBinaryNames = {Names("1"), Names("int1")};
constexpr std::array kBinaryFormats = {Names("binary:row"), Names("q1_0")};
constexpr std::array kBinaryProcess = {
    Bilingual{"Only the sign is kept: 1 bit a weight.", "只保留符号：每个权重 1 位。"},
    Bilingual{"scale = mean |x|, which leaves the least squared error (XNOR-Net).",
              "scale = |x| 的均值，平方误差最小（XNOR-Net）。"}};
constexpr std::array kBinaryCommands = {TopicCommand{"nibble quantize models/fable-5M -f binary:g64 -o fable-binary",
                                                     {"signs, one scale per 64", "只存符号，每 64 个一个尺度"}},
                                        TopicCommand{"nibble explain --format binary:row 1 -3 0.5 -0.5",
                                                     {"the arithmetic on four numbers", "用四个数演示计算"}}};

// --- floats ----------------------------------------------------------------------------------------------------------

constexpr std::array kFp8Names = {Names("e4m3"), Names("e5m2")};
constexpr std::array kFp8Formats = {Names("fp8:row"), Names("fp8_e5m2:row"), Names("int8:row")};
constexpr std::array kFp8Process = {
    Bilingual{"A small float: sign, exponent, mantissa. E4M3 reaches 448 with 3 bits of mantissa, E5M2 57344 with 2.",
              "小浮点数：符号、指数、尾数。E4M3 最大 448，尾数 3 位；E5M2 最大 57344，尾数 2 位。"},
    Bilingual{"Scale = largest magnitude / largest float; code = the bits of x / scale rounded to the nearest float.",
              "尺度 = 最大绝对值 / 最大浮点数；编码 = x / scale 就近取整后的浮点位。"},
    Bilingual{"Points lie close together near 0 and far apart near the end: the error is a share of the weight, not of "
              "the range.",
              "点在 0 附近密、在两端疏：误差与权重本身成比例，而不是与范围成比例。"}};
constexpr std::array kFp8Commands = {
    TopicCommand{"nibble quantize models/fable-5M -f fp8:row -o fable-fp8",
                 {"E4M3, one scale a row", "E4M3，每行一个尺度"}},
    TopicCommand{"nibble quantize models/fable-5M -f mxfp8 -o fable-mxfp8",
                 {"OCP microscaling: a power of two per 32", "OCP 微缩放格式：每 32 个一个 2 的幂"}},
    TopicCommand{"nibble explain --format fp8:row 448 1 -0.3", {"the bits of three numbers", "查看三个数的位"}}};

constexpr std::array kNf4Names = {Names("fp4"), Names("qlora")};
constexpr std::array kNf4Formats = {Names("nf4:g64"), Names("nf4:g64:dq"), Names("fp4:g64"), Names("int4:g64"),
                                    Names("int4:g32")};
constexpr std::array kNf4Process = {
    Bilingual{"16 uneven points: quantiles of the normal distribution, which is how trained weights are spread (QLoRA, "
              "bitsandbytes).",
              "16 个不等距的点：取正态分布的分位数，因为训练后的权重大致服从正态分布（QLoRA、bitsandbytes）。"},
    Bilingual{
        "Scale = the largest magnitude of 64 weights, which takes the point 1; other weights take the nearest point.",
        "尺度 = 64 个权重中的最大绝对值，它对应点 1；其余权重取最近的点。"},
    Bilingual{"Double quantization (nf4:g64:dq): the scales, less their mean, are stored in 8 bits, 256 of them "
              "sharing a scale of their own.",
              "双重量化（nf4:g64:dq）：尺度减去均值后用 8 位存储，每 256 个再共享一个尺度。"}};
constexpr std::array kNf4Commands = {
    TopicCommand{"nibble quantize models/fable-5M -f nf4:g64 -o fable-nf4",
                 {"16 quantiles, half-precision scales", "16 个分位点，半精度尺度"}},
    TopicCommand{"nibble quantize models/fable-5M -f nf4:g64:dq --fit absmax -o fable-nf4-dq",
                 {"what bitsandbytes stores, to the byte", "与 bitsandbytes 存储的内容逐字节一致"}},
    TopicCommand{"nibble explain --format nf4:g64 0.5 -0.1 0.02",
                 {"points and codes of three numbers", "查看三个数的点与编码"}}};

constexpr Topic kTopics[] = {
    {"int8",
     kInt8Names,
     {"int8: one byte a weight", "int8：每个权重一个字节"},
     {"256 evenly spaced points per group. Half the size of a 16-bit model, with a loss that is hard to measure.",
      "每组 256 个等距点。体积是 16 位模型的一半，损失小到难以测出。"},
     {"Whenever half the size is small enough: it is the safe first step, and the reference that smaller formats are "
      "judged by.",
      "只要体积减半就够用，都可以用它：这是最稳妥的第一步，也是评判更小格式的参照。"},
     {"No calibration is needed. One scale per row or per 32 weights; a single scale for a whole tensor loses more, "
      "because the largest weight "
      "of all sets every step. Asymmetric grids pay where values lie mostly on one side of 0: activations more often "
      "than weights.",
      "不需要校准数据。每行或每 32 个权重一个尺度即可；整个张量共用一个尺度损失更大，因为步长由全体最大的权重决定。"
      "数值大多在 0 的一侧时，非对称网格才划算：激活值常如此，权重很少如此。"},
     {"Perplexity changes by a few hundredths of a percent.", "困惑度只变化万分之几。"},
     kInt8Process,
     kInt8Commands,
     kInt8Formats},
    {"int6",
     kSixNames,
     {"6 bits", "6 位"},
     {"64 points per group: between 8 and 4 bits, close to the original.",
      "每组 64 个点：介于 8 位与 4 位之间，接近原模型。"},
     {"When 8 bits do not quite fit and quality must not be discussed.", "8 位放不下、又不愿牺牲质量时。"},
     {"Take q6_k; nothing needs to be tuned. Mixes use it for the matrices that 4 bits would hurt.",
      "直接用 q6_k，无需调整。各混合方案也用它来存放 4 位会受损的矩阵。"},
     {"Perplexity changes by less than a thousandth.", "困惑度变化不到千分之一。"},
     kSixProcess,
     kSixCommands,
     kSixFormats},
    {"int5",
     kFiveNames,
     {"5 bits", "5 位"},
     {"32 points per group: a third of the 16-bit size, with a small loss.",
      "每组 32 个点：体积约为 16 位的三分之一，损失很小。"},
     {"When 4 bits cost visibly much, as with small models, and there is memory left.",
      "4 位损失明显（例如小模型）而内存尚有余量时。"},
     {"Take q5_k_m; compare it with q4_k_m on your own text before you pay for the fifth bit.",
      "用 q5_k_m；在为第五位付出内存之前，先用自己的文本和 q4_k_m 比较。"},
     {"Roughly a quarter of the error of 4 bits: every bit divides the squared error by about four.",
      "误差约为 4 位的四分之一：每多一位，平方误差约减为四分之一。"},
     kFiveProcess,
     kFiveCommands,
     kFiveFormats},
    {"int4",
     kInt4Names,
     {"int4: two weights in a byte", "int4：一个字节存两个权重"},
     {"16 points per group of weights: about 28 % of a 16-bit model. The usual compromise between size and quality.",
      "每组 16 个点：体积约为 16 位模型的 28 %，是大小与质量之间最常用的折中。"},
     {"For models of some billions of parameters on a laptop or one graphics card. Decoding speed follows memory "
      "bandwidth, so 4 bits also run "
      "nearly twice as fast as 8.",
      "在笔记本或单块显卡上运行数十亿参数的模型。逐词生成的速度取决于内存带宽，所以 4 位几乎比 8 位快一倍。"},
     {"Small groups first (32 to 128), then searched grids, then a mix that gives sensitive matrices more bits. Keep "
      "embedding and head in 6 bits or "
      "more. Measure the divergence from the original (KL), not perplexity alone.",
      "先用小组（32 到 128），再用搜索得到的网格，最后用混合方案给敏感矩阵更多位。词嵌入与输出头保留 6 位以上。"
      "除困惑度外，还要看与原模型的 KL 散度。"},
     {"A few tenths of a percent of perplexity on this small model; smaller groups and mixes halve it.",
      "在这个小模型上困惑度变化千分之几；更小的组和混合方案可再减半。"},
     kInt4Process,
     kInt4Commands,
     kInt4Formats},
    {"int3",
     kThreeNames,
     {"3 bits", "3 位"},
     {"8 points per group: the loss becomes visible, and the choice of grid decides.",
      "每组 8 个点：损失开始可见，网格的选择起决定作用。"},
     {"When 4 bits do not fit. A larger model in 3 bits usually beats a smaller one in 8 of the same size.",
      "4 位放不下时。同样体积下，3 位的大模型通常胜过 8 位的小模型。"},
     {"Use a mix (q3_k_m) rather than one format; where encoding time does not matter, vectors (iq3_xxs, iq3_m) or "
      "learned tables.",
      "用混合方案（q3_k_m）而不是单一格式；不在意编码时间时，用向量（iq3_xxs、iq3_m）或学习得到的表。"},
     {"Around one to two percent of perplexity here.", "这里困惑度上升约百分之一到二。"},
     kThreeProcess,
     kThreeCommands,
     kThreeFormats},
    {"int2",
     kInt2Names,
     {"int2: four weights in a byte", "int2：一个字节存四个权重"},
     {"Four points per group: plain rounding ruins most models, good grids and mixes make it usable for large ones.",
      "每组四个点：直接取整会毁掉大多数模型；好的网格与混合方案才能让大模型可用。"},
     {"Only when nothing else fits, for models of 30 billion parameters and more, and never for small ones.",
      "只在别无选择时使用，适合 300 亿参数以上的模型；小模型不要用。"},
     {"Let grids be searched, use small groups or vectors (iq2), keep v, down, embedding and head at 3 to 6 bits: that "
      "is what the mixes do. "
      "Then compare with a smaller model in 4 bits: it may be better.",
      "让网格经过搜索，用小组或向量（iq2），把 v、down、词嵌入和输出头保留在 3 到 6 位：混合方案正是这样做的。"
      "然后与一个 4 位的小模型比较：后者可能更好。"},
     {"Perplexity rises by tens of percent on this small model.", "在这个小模型上困惑度上升百分之几十。"},
     kInt2Process,
     kInt2Commands,
     kInt2Formats},
    {"mixed",
     kMixedNames,
     {"mixed precision: more bits where they matter", "混合精度：把位数用在要紧处"},
     {"Different matrices in different formats: at the same size a mix loses less than one format for all.",
      "不同矩阵用不同格式：同样大小下，混合方案比统一格式损失更小。"},
     {"Below 6 bits, always.", "低于 6 位时都应使用。"},
     {"Start from a named mix; look at what it assigns (--dry-run --verbose); raise what hurts, lower what does not. "
      "Change one rule at a time and "
      "measure. Runtimes fuse q, k and v, and gate and up: give those one format.",
      "从现成的混合方案开始；用 --dry-run --verbose 看它如何分配；把受损的调高，把无碍的调低。一次只改一条规则并实测。"
      "推理程序会把 q、k、v 以及 gate、up 合并计算，它们应使用同一格式。"},
     {"Compare q4_k_m with q4_k: a quarter of a bit more, half the divergence.",
      "比较 q4_k_m 与 q4_k：只多四分之一位，散度减半。"},
     kMixedProcess,
     kMixedCommands,
     kMixedFormats},
    {"ternary",
     kTernaryNames,
     {"ternary: -1, 0, 1", "三值：-1、0、1"},
     {"Three points: products become additions. 1.6 to 2 bits a weight.",
      "三个点：乘法变成加减法。每个权重 1.6 到 2 位。"},
     {"For models that were trained that way (BitNet b1.58). Rounding an ordinary model to three values destroys it.",
      "适合按三值方式训练的模型（BitNet b1.58）。把普通模型直接取整为三值会毁掉它。"},
     {"For a model trained with absmean, store with absmean: nothing is lost. For experiments on others, let the scale "
      "be searched.",
      "用 absmean 训练的模型就用 absmean 存储，不会有损失；对其他模型做试验时让尺度经过搜索。"},
     {"An ordinary model does not survive it, as the figures show.", "普通模型承受不了，见下列数字。"},
     kTernaryProcess,
     kTernaryCommands,
     kTernaryFormats},
    {"binary",
     kBinaryNames,
     {"binary: signs only", "二值：只留符号"},
     {"Two points, -1 and 1, times a scale: one bit a weight.", "两个点 -1 与 1，再乘一个尺度：每个权重一位。"},
     {"For networks trained with binary weights, and to see how far one can go.",
      "适合以二值权重训练的网络，也可用来观察压缩的极限。"},
     {"Small groups help a little; training that knows of the rounding is what makes it work.",
      "小组略有帮助；真正起作用的是在训练时就考虑取整。"},
     {"An ordinary language model loses nearly everything.", "普通语言模型几乎失去全部能力。"},
     kBinaryProcess,
     kBinaryCommands,
     kBinaryFormats},
    {"fp8",
     kFp8Names,
     {"fp8: bytes as small floats", "fp8：把字节当作小浮点数"},
     {"256 uneven points: fine near 0, coarse at the end. Made for hardware that multiplies such numbers.",
      "256 个不等距的点：靠近 0 处细，两端粗。为能直接相乘这类数的硬件而设。"},
     {"When the target computes in fp8, or activations have outliers. For weights alone int8 with the same scales has "
      "the smaller error.",
      "目标硬件以 fp8 计算，或激活值有离群点时。只看权重，尺度相同的 int8 误差更小。"},
     {"E4M3 for weights and activations, E5M2 only where the range matters more than precision (gradients). A scale "
      "per row.",
      "权重与激活值用 E4M3；只有范围比精度更重要时（如梯度）才用 E5M2。每行一个尺度。"},
     {"About three times the divergence of int8 at the same size with E4M3, fourteen times with E5M2; both small.",
      "同样大小下，E4M3 的散度约为 int8 的三倍，E5M2 约为十四倍，都很小。"},
     kFp8Process,
     kFp8Commands,
     kFp8Formats},
    {"nf4",
     kNf4Names,
     {"nf4: 4 bits at the quantiles of a normal distribution", "nf4：按正态分布分位数取点的 4 位"},
     {"A table of 16 points shaped like the weights: less error than evenly spaced points when the scale is the plain "
      "one.",
      "按权重分布安排的 16 个点：在使用朴素尺度时，误差比等距点小。"},
     {"To prepare or reproduce QLoRA and bitsandbytes models; where tables are as cheap as integers.",
      "用于准备或复现 QLoRA 与 bitsandbytes 模型，或查表与整数计算同样便宜的场合。"},
     {"Groups of 64. Double quantization saves another eighth of a bit for next to nothing. nibble searches the scale "
      "unless --fit absmax asks for "
      "the bytes of bitsandbytes.",
      "每组 64 个。双重量化几乎不损失质量，再省八分之一位。除非用 --fit absmax 要求与 bitsandbytes 一致的字节，nibble "
      "会搜索尺度。"},
     {"About a quarter less divergence than int4 with the same groups.", "散度比同样分组的 int4 约低四分之一。"},
     kNf4Process,
     kNf4Commands,
     kNf4Formats},
    topics::kPtq,
    topics::kQat,
};

constexpr MeasuredFormat kMeasured[] = {
    {"q8_0", 8.50, 0.00020, 0.00019, 0.9850},          {"int8:row", 8.10, -0.00010, 0.00020, 0.9860},
    {"q6_k", 6.56, 0.00030, 0.00070, 0.9630},          {"int6:g64", 6.25, 0.00026, 0.00089, 0.9725},
    {"q5_k_m", 5.62, 0.00118, 0.00184, 0.9521},        {"int5:g64", 5.25, 0.00271, 0.00285, 0.9469},
    {"q4_k_m", 4.74, 0.00230, 0.00424, 0.9350},        {"q4_k", 4.50, 0.00507, 0.00874, 0.8824},
    {"q4_0", 4.50, 0.01180, 0.01335, 0.8580},          {"int4:g32", 4.50, 0.00440, 0.00708, 0.9130},
    {"int4:g64", 4.25, 0.00906, 0.01002, 0.8949},      {"int4:g128", 4.12, 0.00807, 0.01182, 0.8891},
    {"int4:row", 4.10, 0.01400, 0.01620, 0.8780},      {"int4:g32:asym", 4.62, 0.00345, 0.00649, 0.9211},
    {"nf4:g64", 4.25, 0.00614, 0.00749, 0.9219},       {"nf4:g64:dq", 4.13, 0.00585, 0.00712, 0.9181},
    {"fp4:g64", 4.25, 0.00467, 0.01248, 0.8889},       {"fp8:row", 8.10, 0.00049, 0.00094, 0.9706},
    {"fp8_e5m2:row", 8.10, 0.00154, 0.00327, 0.9487},  {"q3_k_m", 3.85, 0.00817, 0.01100, 0.8941},
    {"iq3_xxs", 3.06, 0.04782, 0.05569, 0.7944},       {"int3:g32", 3.50, 0.02327, 0.02559, 0.8521},
    {"int3:g64", 3.25, 0.03702, 0.03785, 0.8356},      {"table3:row", 3.42, 0.03062, 0.03228, 0.8353},
    {"q2_k", 2.62, 0.22150, 0.20010, 0.6949},          {"iq2_xxs", 2.06, 0.67672, 0.52362, 0.6387},
    {"int2:g32", 2.50, 0.41139, 0.34449, 0.6908},      {"int2:g32:signed", 2.50, 0.32970, 0.28157, 0.6913},
    {"int2:g32:half", 2.50, 0.39990, 0.33789, 0.7020}, {"ternary:row", 2.10, 4.90724, 1.76879, 0.4109},
    {"tq2_0", 2.06, 25.67382, 3.26291, 0.2433},        {"binary:row", 1.10, 814.12403, 6.68744, 0.0248},
    {"q1_0", 1.12, 742.57971, 6.58365, 0.0172},
};

}  // namespace

std::span<const Topic> all_topics() { return kTopics; }

std::span<const MeasuredFormat> measured_formats() { return kMeasured; }

}  // namespace nibble
