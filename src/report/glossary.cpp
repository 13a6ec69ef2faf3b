// SPDX-License-Identifier: Apache-2.0
#include "report/glossary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/letter_case.h"
#include "report/training_terms.h"
#include "report/wrapped_text.h"

namespace nibble {
namespace {

using terms::kNone;
using terms::Names;
constexpr std::array kRtn = {Names("nearest")};
constexpr std::array kImatrix = {Names("importance"), Names("stats"), Names("statistics")};
constexpr std::array kCalibration = {Names("calibrate")};
constexpr std::array kKl = {Names("divergence"), Names("kld"), Names("kl_mean")};
constexpr std::array kPerplexity = {Names("ppl")};
constexpr std::array kTop = {Names("top1"), Names("same top-1")};
constexpr std::array kOutliers = {Names("outlier")};
constexpr std::array kHadamard = {Names("hadamard:fold"), Names("hadamard:both"), Names("rotation")};
constexpr std::array kGroups = {Names("group"), Names("block"), Names("blocks")};
constexpr std::array kLattice = {Names("lattices"), Names("e8p"), Names("e8")};
constexpr std::array kTrellis = {Names("trellises"), Names("viterbi"), Names("tiles")};
constexpr std::array kTokens = {Names("token"), Names("tokenizer")};
constexpr std::array kBudget = {Names("bpw"), Names("max-kl")};
constexpr std::array kCache = {Names("kv"), Names("kv cache"), Names("kv-cache")};
constexpr std::array kActivations = {Names("a8"), Names("w8a8")};
constexpr std::array kRules = {Names("rule")};
constexpr std::array kTasks = {Names("task"), Names("questions"), Names("benchmark")};
constexpr std::array kSplit = {Names("splits"), Names("shard"), Names("shards"), Names("parts")};
constexpr std::array kRaw = {Names("bf16"), Names("f32")};
constexpr std::array kSearch = {Names("least squares")};
constexpr std::array kSignRound = {Names("autoround")};
constexpr std::array kAdaRound = {Names("adaptive rounding")};
constexpr std::array kCrossLayer = {Names("cle"), Names("cross-layer equalization")};
constexpr std::array kBlockwise = {Names("efficientqat"), Names("block-ap")};
constexpr std::array kHessian = {Names("moment"), Names("moments"), Names("second moment")};
constexpr std::array kGuided = {Names("guidedquant"), Names("guided:4")};
constexpr std::array kCandidates = {Names("candidate")};

constexpr std::string_view kEval = "nibble eval small.gguf --against MODEL --text held-out.txt";

constexpr Term kOwn[] = {
    {TermKind::method,
     "rtn",
     kRtn,
     {"Round to nearest: each weight goes to the closest point of its group's grid, and no data is looked at. The "
      "fastest method, and enough from 5 "
      "bits on.",
      "就近取整：每个权重取所在组网格上最近的点，不看任何数据。最快，5 位及以上通常已经足够。"},
     "nibble quantize MODEL -f q4_k -o small.gguf"},
    {TermKind::method,
     "mse",
     kNone,
     {"Round to nearest on grids that are searched for the least squared error of the weights themselves. Needs no "
      "data; the file is as large as "
      "with rtn.",
      "先为每组搜索使权重平方误差最小的网格，再就近取整。不需要数据，文件大小与 rtn 相同。"},
     "nibble quantize MODEL -f q4_0 --method mse -o small.gguf"},
    {TermKind::method,
     "imatrix",
     kImatrix,
     {"The importance matrix: the mean square of what each column of a matrix is multiplied with. Errors of columns "
      "that carry much count for more, "
      "so the grid is fitted to them. Below 4 bits it decides between usable and ruined.",
      "重要性矩阵：矩阵每一列所乘输入的均方值。输入大的列误差权重更高，网格据此拟合。4 位以下时它决定模型可用与否。"},
     "nibble quantize MODEL -f mix:iq2_xxs --method imatrix --text calibration.txt -o small.gguf"},
    {TermKind::method,
     "table",
     kNone,
     {"The points themselves are learned: for each row those that k-means finds, weighted by importance. For table "
      "formats (table4:row).",
      "连取值点也由学习得到：按重要性加权的 k-means 为每行找出这些点。用于 table 格式（如 table4:row）。"},
     "nibble quantize MODEL -f table4:row --method table --text calibration.txt -o small"},
    {TermKind::method,
     "awq",
     kNone,
     {"Columns that meet large inputs are scaled up before rounding, so that their relative error falls, and the scale "
      "is folded into the layer "
      "before. Nothing is left of it when the model runs.",
      "取整前放大输入较大的列，使其相对误差变小，缩放系数并入前一层，运行时不留任何开销。"},
     "nibble quantize MODEL -f int4:g128 --method awq --text calibration.txt -o small"},
    {TermKind::method,
     "smoothquant",
     kNone,
     {"Part of the range of activations is moved into the weights, column by column, so that 8 bits are enough for "
      "both. --alpha says how much.",
      "把激活值的部分动态范围逐列移入权重，使两者都能用 8 位表示；--alpha 决定移多少。"},
     "nibble quantize MODEL -f int8:row+a8:static --method smoothquant --text calibration.txt -o small"},
    {TermKind::method,
     "gptq",
     kNone,
     {"Columns are rounded one after another, and what each rounding spoils in the outputs is made good by the columns "
      "that follow. It needs the "
      "second moments of the inputs, which a text gives.",
      "逐列取整，每一列造成的输出误差由后面的列补偿。需要输入的二阶矩，由校准文本得到。"},
     "nibble quantize MODEL -f q4_k --method gptq --text calibration.txt -o small.gguf"},
    {TermKind::method,
     "descent",
     kNone,
     {"gptq first; then grids and codes of each span are chosen anew, several times over, for the least error of the "
      "outputs. Slower, and the "
      "smallest error of the methods here.",
      "先做 gptq，再多次逐段重选网格与编码，使输出误差最小。较慢，但误差在各方法中最小。"},
     "nibble quantize MODEL -f q3_k --method descent --text calibration.txt -o small.gguf"},
    {TermKind::method,
     "signround",
     kSignRound,
     {"gptq first; then all Linears of a layer learn together to give what the original's layer does: in every step "
      "each weight is pushed towards the neighbouring code that the sign of its gradient asks for, half a step away at "
      "most. What is stored is what was best on windows that are not learnt from.",
      "先做 "
      "gptq；随后一层内的所有线性层一起学习，使该层输出接近原模型：每一步按梯度符号把权重推向相邻编码，最多半格。保存的"
      "是在未参与学习的窗口上最好的状态。"},
     "nibble quantize MODEL -f q4_k --method signround --text calibration.txt -o small.gguf"},
    {TermKind::method,
     "blockwise",
     kBlockwise,
     {"gptq first; then codes and grids of a layer learn from the error of its whole output: a code changes where "
      "slope "
      "and curvature say that this alone would lower the error, again and again while the others change, too. What is "
      "stored is what was best on windows that are not learnt from; nibble distill can go on from there.",
      "先做 "
      "gptq；随后一层的编码与网格根据整层输出的误差学习：凡梯度与曲率表明单独改变即可降低误差的编码就改变，如此反复。保"
      "存的是在未参与学习的窗口上最好的状态；之后可用 nibble distill 继续。"},
     "nibble quantize MODEL -f int2:g64 --method blockwise --text calibration.txt -o small"},
    {TermKind::method,
     "adaround",
     kAdaRound,
     {"Of small nets: whether each weight goes to the point below or above it is learned, layer by layer, from what "
      "the "
      "layer makes of samples when the layers before it are rounded. It begins from what descent (of int8: rtn) chose, "
      "and a layer takes what it learned where that leaves less error on samples that are held out.",
      "用于小型网络：逐层学习每个权重向下还是向上取整，依据是前面各层取整之后，该层由样本得到的输出。从 descent（int8 "
      "为 "
      "rtn）的结果出发；只有在留出样本上误差更小的层才采用学到的结果。"},
     "nibble quantize net.onnx -f int4 --method adaround --samples inputs.npy -o net4.onnx"},
    {TermKind::stage,
     "equalize",
     kCrossLayer,
     {"Of small nets: channels of consecutive layers are scaled against each other until both have the same range, "
      "which leaves what the net computes as it is. It decides where weights have one scale for a whole tensor "
      "(int8:tensor); by default it is kept where it helps.",
      "用于小型网络：相邻两层的通道互相缩放，直到范围相同，网络的计算结果不变。当整个张量只有一个尺度（int8:tensor）时"
      "起决定作用；默认只在有帮助时采用。"},
     "nibble quantize net.onnx -f int8:tensor --equalize on --samples inputs.npy -o net8.onnx"},
    {TermKind::stage,
     "transform",
     kNone,
     {"The first stage of a method: what is done to weights before they are rounded. none, awq, smoothquant, hadamard, "
      "hadamard:fold, hadamard:both.",
      "方法的第一阶段：取整之前对权重做的变换：none、awq、smoothquant、hadamard、hadamard:fold、"
      "hadamard:both。"},
     "nibble quantize MODEL -f q4_k --transform awq --round gptq --text calibration.txt -o small.gguf"},
    {TermKind::stage,
     "hadamard",
     kHadamard,
     {"A transform: inputs are rotated in blocks of up to 256 columns while the model runs, and weights are rounded "
      "for "
      "rotated inputs. What is large in a few columns is spread over many, which coarse grids and trellises gain by. "
      "Recorded in the container nibble; hadamard:fold puts what it can into the weights for good, for any container; "
      "hadamard:both does that, and rotates the rest while the model runs.",
      "一种变换：运行时把输入按至多 256 列的块旋转，权重针对旋转后的输入取整。少数列中的大数值被分散到许多列，粗网格与 "
      "trellis 由此受益。旋转记录在 nibble 容器中；hadamard:fold "
      "则把可精确合并的旋转永久并入权重，适用于任何容器；hadamard:both 在此之外，其余输入仍在运行时旋转。"},
     "nibble quantize MODEL -f trellis2:l8 --method gptq --transform hadamard --text calibration.txt -o small"},
    {TermKind::stage,
     "round",
     kNone,
     {"The last stage of a method: which code a weight gets. nearest, gptq, descent.",
      "方法的最后阶段：每个权重取哪个编码：nearest、gptq、descent。"},
     "nibble quantize MODEL -f q4_k --transform awq --round gptq --text calibration.txt -o small.gguf"},
    {TermKind::fit,
     "auto",
     kNone,
     {"The format's own rule for its grid: searched in most, the reference's plain one in q4_0 to q8_0.",
      "由格式自定的网格规则：多数格式为搜索，q4_0 到 q8_0 采用参考实现的朴素规则。"},
     {}},
    {TermKind::fit,
     "absmax",
     kNone,
     {"The largest magnitude of a group reaches the end of the range: nothing is cut off, and one large weight makes "
      "all steps wide.",
      "组内最大绝对值对应范围端点：不截断，但一个大权重会使步长整体变粗。"},
     {}},
    {TermKind::fit,
     "minmax",
     kNone,
     {"Smallest and largest value reach the two ends: for asymmetric grids.",
      "最小值与最大值分别对应两端：用于非对称网格。"},
     {}},
    {TermKind::fit,
     "search",
     kSearch,
     {"Many grids are tried, and the one with the least squared error is kept, weighted by importance where that is "
      "known. Same bytes, better "
      "values.",
      "尝试多个网格，保留平方误差最小者；已知重要性时按其加权。字节数不变，数值更准。"},
     "nibble quantize MODEL -f q4_0 --fit search -o small.gguf"},
    {TermKind::fit,
     "percentile",
     kNone,
     {"A share of the magnitudes stays inside the range (percentile:99.9) and the rest is cut to its end.",
      "让一定比例的绝对值落在范围内（如 percentile:99.9），其余截断到端点。"},
     {}},
    {TermKind::fit,
     "entropy",
     kNone,
     {"The range that keeps the distribution of values closest, by Kullback-Leibler divergence. Known from calibrating "
      "activations.",
      "使取值分布（按 KL 散度）最接近原分布的范围，常用于激活值校准。"},
     {}},
    {TermKind::fit,
     "absmean",
     kNone,
     {"The mean magnitude is the scale: the rule of BitNet b1.58 for ternary weights.",
      "以平均绝对值为尺度：BitNet b1.58 的三值规则。"},
     {}},
    {TermKind::fit,
     "threshold",
     kNone,
     {"For ternary weights: what exceeds 0.7 of the mean magnitude is kept, the rest becomes 0.",
      "用于三值：超过平均绝对值 0.7 倍的保留，其余置 0。"},
     {}},
    {TermKind::task,
     "hellaswag",
     kNone,
     {"Which of four endings fits a situation: everyday sense.", "从四个结尾中选出合理的一个：日常常识。"},
     {}},
    {TermKind::task,
     "mmlu",
     kNone,
     {"Multiple choice in 57 subjects, from school to profession.", "57 个学科的选择题，从中学到专业水平。"},
     {}},
    {TermKind::task,
     "arc",
     kNone,
     {"Questions of natural science from school, with up to five answers.", "中小学自然科学选择题，最多五个选项。"},
     {}},
    {TermKind::task,
     "winogrande",
     kNone,
     {"Which of two words a blank stands for, where only sense decides.", "二选一填空，只能靠常识判断。"},
     {}},
    {TermKind::task,
     "piqa",
     kNone,
     {"Which of two ways to reach a practical goal works.", "两种做法中哪一种能达到实际目的。"},
     {}},
    {TermKind::task, "boolq", kNone, {"Yes or no, by a passage that is given.", "根据给定短文回答是或否。"}, {}},
    {TermKind::task,
     "openbookqa",
     kNone,
     {"Questions of elementary science with four answers.", "基础科学四选一。"},
     {}},
    {TermKind::task,
     "lambada",
     kNone,
     {"The last word of a passage, which only its beginning tells.", "预测短文的最后一个词，需读懂全文。"},
     {}},
    {TermKind::task, "blimp", kNone, {"Which of two sentences is grammatical.", "两个句子中哪一个合乎语法。"}, {}},
    {TermKind::task,
     "gsm8k",
     kNone,
     {"School arithmetic in words; the answer is a number that is generated.", "小学应用题，生成数字答案。"},
     {}},
    {TermKind::task,
     "bleu",
     kNone,
     {"How many runs of one to four words a generated text shares with a reference.",
      "生成文本与参考文本共有的一至四词片段所占比例。"},
     {}},
    {TermKind::measure,
     "kl",
     kKl,
     {"The Kullback-Leibler divergence from the original's predictions to the model's, in nats, mean over tokens: 0 "
      "means that nothing changed. It "
      "sees changes that perplexity averages away, so it is the measure to judge a quantized model by. It differs from "
      "model to model.",
      "从原模型预测到量化模型预测的 KL 散度（单位 nat，按词元平均）：0 表示毫无变化。困惑度会把变化平均掉，KL "
      "不会，因此最适合评判量化模型。数值因模型而异。"},
     kEval},
    {TermKind::measure,
     "perplexity",
     kPerplexity,
     {"The exponential of the mean surprise at each next token of a text: lower is better. Comparable only for the "
      "same text, tokenizer and "
      "protocol.",
      "文本中每个后续词元平均惊讶度的指数，越低越好。只有文本、分词器和规程都相同时才可比较。"},
     kEval},
    {TermKind::measure,
     "top-1",
     kTop,
     {"The share of tokens for which the most probable next token is still the original's.",
      "最可能的下一个词元仍与原模型一致的比例。"},
     kEval},
    {TermKind::measure,
     "tasks",
     kTasks,
     {"Questions with known answers, read from a file: of multiple choice, of one word, or with an answer that is "
      "generated. They show which "
      "answers changed, which perplexity cannot. Each is scored as lm-evaluation-harness does; the more questions, the "
      "smaller the changes that they "
      "tell. Names: hellaswag, mmlu, arc, winogrande, piqa, boolq, openbookqa, lambada, blimp, gsm8k, bleu.",
      "从文件读取、答案已知的题目：选择题、填一个词，或生成答案。它们显示哪些回答变了，困惑度看不出这一点。评分方式与 "
      "lm-evaluation-harness 相同；题目越多，能分辨的变化越小。"
      "可用：hellaswag、mmlu、arc、winogrande、piqa、boolq、openbookqa、lambada、blimp、gsm8k、bleu。"},
     "nibble eval small.gguf --against MODEL --task hellaswag hellaswag_val.jsonl"},
    {TermKind::data,
     "split",
     kSplit,
     {"Two things. A model in several files (NAME-00001-of-00003.gguf, shards of safetensors): name the first part of "
      "a GGUF file, or the "
      "directory, and all are read. And --split of eval, quantize and compare: so many windows are read once more with "
      "nothing but the weights "
      "rounded, which splits the loss into the weights' and the arithmetic's.",
      "有两个含义。一是分成多个文件的模型（NAME-00001-of-00003.gguf，或 safetensors 分片）：给出 GGUF "
      "的第一个文件或整个目录，其余自动读取。"
      "二是 eval、quantize、compare 的 "
      "--split：再用若干窗口只对权重取整读一遍，把损失分为权重造成的与运算造成的两部分。"},
     "nibble eval small.gguf --against MODEL --text held-out.txt --split 32"},
    {TermKind::measure,
     "verdict",
     kNone,
     {"A paired measurement: original and quantized model read the same windows, and differences have intervals that "
      "hold with 95 %.",
      "配对测量：原模型与量化模型读同样的窗口，差值附 95 % 置信区间。"},
     kEval},
    {TermKind::data,
     "calibration",
     kCalibration,
     {"Text is walked through the original, and what each layer's matrices are multiplied with is recorded. The text "
      "should be like what the model "
      "is for; some tens of thousands of tokens are enough for most methods. Judge on another text.",
      "让文本逐层通过原模型，记录各矩阵所乘的输入。文本应接近实际用途；多数方法几万个词元即可。评判时另用一段文本。"},
     "nibble calibrate MODEL --text calibration.txt -o imatrix.gguf"},
    {TermKind::data,
     "hessian",
     kHessian,
     {"The second moment of what a matrix is multiplied with, E[x x'], which gptq and descent round by: it says "
      "what "
      "an "
      "error of one column costs beside one of another. --hessian says how tokens weigh in it: plain, all alike; "
      "guided, by how much the loss asks of them; kl, with the outputs' moment, too.",
      "海森矩阵：矩阵输入的二阶矩 E[x x']，gptq 与 descent 据此取整：它表明一列的误差相对另一列代价几何。--hessian "
      "规定各词元的权重：plain 一律相同；guided 按损失对该词元的敏感程度；kl 还计入输出的二阶矩。"},
     "nibble quantize MODEL -f int3:g128 --method gptq --hessian kl --text calibration.txt -o small"},
    {TermKind::data,
     "guided",
     kGuided,
     {"Moments in which a token weighs as much as the loss asks of what a layer gives for it: the mean square of "
      "the "
      "gradient, of one pass there and back. guided:4 keeps such moments for each of 4 groups of a matrix's rows. "
      "It "
      "needs a text of some length, takes three to five times as long as plain moments, and does not always gain.",
      "按损失加权的二阶矩：词元的权重取该层输出处梯度的均方，由一次前向与反向得到。guided:4 为矩阵的 4 "
      "组行各留一份。需要足够长的文本，耗时为普通矩的三到五倍，且未必总有收益。"},
     "nibble quantize MODEL -f int3:g128 --method gptq --hessian guided --text calibration.txt -o small"},
    {TermKind::data,
     "outliers",
     kOutliers,
     {"A few values far larger than the rest. In weights they widen the steps of their group: int3:g128+outliers:0.5% "
      "leaves that share of them, where it gains most, out of their groups and keeps them in 16 bits. In activations "
      "they sit in the same columns of every token, which is what awq, smoothquant and wide columns (a8:g128:wide) are "
      "for.",
      "远大于其他的少数值。在权重中会使所在组步长变粗：int3:g128+outliers:0.5% 把收益最大的这一比例移出所在组，以 16 "
      "位保存。在激活值中总出现在固定的列，awq、smoothquant 与宽列（a8:g128:wide）正是为此。"},
     "nibble quantize MODEL -f int3:g128+outliers:0.5% --method gptq --text calibration.txt -o small"},
    {TermKind::data,
     "groups",
     kGroups,
     {"Runs of weights along a row that share a scale: 32 to 256 of them. Small groups follow the weights closely and "
      "cost more bits for scales; "
      "rows must be a multiple of a block's length, or another format takes their place.",
      "一行中共用一个尺度的一段权重，长 32 到 "
      "256。组小则更贴合权重，但尺度占位更多；行长必须是块长的整数倍，否则改用其他格式。"},
     "nibble explain int4:g32 0.1 -0.2 0.3"},
    {TermKind::data,
     "trellis",
     kTrellis,
     {"Codes that overlap: those of 64 rows and 4 columns are one ring of bits, and a weight is what a window of 8, 12 "
      "or 16 bits stands for, of which only 1 to 6 are its own. So few bits name many values, and a search picks the "
      "ring whose values are closest together. It loses less than any other format of as many bits, gives no row a "
      "code of its own, and is for Linears in nibble's own directories. trellis2:l8 runs as fast as int2; l12 and l16 "
      "are closer and slower.",
      "相互重叠的编码：64 行 4 列的编码连成一个比特环，每个权重取长 8、12 或 16 位的窗口所代表的值，其中只有 1 至 6 "
      "位属于它自己。因此少量比特即可表示许多取值，由搜索选出整体误差最小的环。同样位数下损失最小，但单独一行没有自己"
      "的编码，仅用于 nibble 自有目录中的线性层。trellis2:l8 与 int2 一样快；l12、l16 更准但更慢。"},
     "nibble quantize MODEL -f trellis2:l8 --method gptq --text calibration.txt -o small"},
    {TermKind::data,
     "lattice",
     kLattice,
     {"Points in eight dimensions: a code of 16 bits stands for eight weights of a row at once, as one of 65536 points "
      "of E8, where spheres lie closest. e8p2 loses a quarter less than four levels a weight at the same 2 bits, more "
      "than a trellis, and its rows have codes of their own. e8p3 and e8p4 are of 3 and 4 bits: each further byte of a "
      "code halves the lattice. All are for nibble's own directories.",
      "八维空间中的点：一个 16 位编码同时代表一行中的八个权重，取自球体排列最密的 E8 格中的 65536 个点。在同样 2 "
      "位下，e8p2 的损失比每个权重四级少四分之一，比网格编码（trellis）多，但每行有自己的编码。e8p3 和 e8p4 为 3 位和 "
      "4 "
      "位：编码每多一个字节，格点间距减半。这些格式仅用于 nibble 自有目录。"},
     "nibble quantize MODEL -f e8p2 --method gptq --text calibration.txt -o small"},
    {TermKind::data,
     "tokens",
     kTokens,
     {"The pieces that a model reads and writes: parts of words, signs, and control tokens such as <|im_start|>, which "
      "mark turns of a chat.",
      "模型读写的最小片段：词的部分、符号，以及标记对话轮次的控制词元（如 <|im_start|>）。"},
     "nibble inspect MODEL"},
    {TermKind::data,
     "budget",
     kBudget,
     {"A size or a divergence instead of a format: what every tensor costs is measured, and the mix that loses least "
      "at that size is made.",
      "不指定格式，而给出大小或散度上限：先测量每个张量的代价，再求该大小下损失最小的混合方案。"},
     "nibble quantize MODEL --bpw 4.5 --text calibration.txt -o small.gguf"},
    {TermKind::data,
     "candidates",
     kCandidates,
     {"The formats that a budget chooses among, tensor by tensor. By default what the container stores; "
      "--candidates "
      "names others, and then nothing else is taken: matrices that can have none of them stay as they are.",
      "候选格式：预算为每个张量从中挑选的格式。默认是容器能存的那些；--candidates "
      "指定后只用所列者，无法采用其中任何一种的矩阵保持原样。"},
     "nibble quantize MODEL --bpw 2.5 --candidates trellis2:l8,trellis3:l8,int4:g32 --text calibration.txt -o "
     "small"},
    {TermKind::data,
     "cache",
     kCache,
     {"Keys and values of the tokens read so far. They take memory with every token; in q8_0 half of f16, with a loss "
      "that is hard to measure.",
      "已读词元的键与值，随词元数占用内存；用 q8_0 只占 f16 的一半，损失难以测出。"},
     "nibble run small.gguf -p \"Once upon a time\" --kv q8_0"},
    {TermKind::data,
     "activations",
     kActivations,
     {"What a matrix is multiplied with. Rounded to 8 bits as it comes, per group (a8:g128), per token, or on a grid "
      "that calibration fixes "
      "(a8:static).",
      "矩阵所乘的输入。可即时取整为 8 位：按组（a8:g128）、按词元，或用校准固定的网格（a8:static）。"},
     "nibble quantize MODEL -f int8:row+a8:static --text calibration.txt -o small"},
    {TermKind::data,
     "f16",
     kRaw,
     {"Numbers as they are, without groups or scales: f32 in 32 bits, f16 in 16 with more digits, bf16 in 16 with more "
      "range. What models are "
      "published in.",
      "不分组、不设尺度，数值原样存储：f32 用 32 位；f16 用 16 位，精度较高；bf16 用 16 "
      "位，范围较大。模型通常以此发布。"},
     "nibble quantize model.gguf -f f16 -o directory"},
    {TermKind::data,
     "rules",
     kRules,
     {"Ordered rules that say which tensor gets which format; the first that matches decides. A mix is a recipe with a "
      "name.",
      "按顺序排列的规则，规定哪个张量用哪种格式，首个匹配者生效。混合方案就是有名字的规则表。"},
     "nibble recipe show q4_k_m"},
};

constexpr std::array kTerms = [] {
  std::array<Term, std::size(kOwn) + terms::kTraining.size()> all = {};
  std::ranges::copy(terms::kTraining, std::ranges::copy(kOwn, all.begin()).out);
  return all;
}();

constexpr std::string_view kKindNames[] = {"method", "stage", "fit", "estimator", "task", "measure", "data"};

}  // namespace

std::span<const Term> all_terms() { return kTerms; }

const Term* find_term(std::string_view name) {
  const std::string wanted = lower_case(name);
  for (const Term& term : kTerms)
    if (term.name == wanted || std::ranges::find(term.other_names, wanted) != term.other_names.end()) return &term;
  return nullptr;
}

std::string term_text(const Term& term, Language language) {
  std::string text = fmt::format("{}\n\n", term.name) + wrapped_text(term.text.in(language), 0);
  if (!term.command.empty()) text += fmt::format("\n  {}\n", term.command);
  return text;
}

Json term_json(const Term& term, Language language) {
  return {{"name", term.name},
          {"kind", kKindNames[static_cast<std::size_t>(term.kind)]},
          {"language", language == Language::english ? "en" : "zh"},
          {"text", term.text.in(language)},
          {"command", term.command.empty() ? Json() : Json(term.command)}};
}

}  // namespace nibble
