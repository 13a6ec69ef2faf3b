// SPDX-License-Identifier: Apache-2.0
//
// The texts of `nibble explain ptq` and `nibble explain qat`. Figures in them are those of docs/training.md. Internal
// to report/.
#pragma once

#include <array>
#include <string_view>

#include "report/topics.h"

namespace nibble::topics {

constexpr std::array kPtqNames = {std::string_view("post-training")};
constexpr std::array kPtqFormats = {std::string_view("q8_0"), std::string_view("int4:g128"),
                                    std::string_view("int3:g64"), std::string_view("int2:g32:half")};
constexpr std::array kPtqProcess = {
    Bilingual{"The network is trained and stays as it is; only then are its weights rounded, matrix by matrix.",
              "网络已经训练好，不再改变；之后才逐个矩阵地把权重舍入。"},
    Bilingual{
        "Rounding alone (rtn) takes the nearest point of every weight: 0.31, -0.12, 0.48 at a scale of 0.2 become "
        "0.3, -0.1, 0.3 in int2:half.",
        "只舍入（rtn）时每个权重取最近的点：在 int2:half、尺度 0.2 下，0.31、-0.12、0.48 变成 0.3、-0.1、0.3。"},
    Bilingual{
        "Methods that see a little text (gptq, descent, awq) choose other points so that the errors of one weight "
        "are made up for by the next.",
        "看一点文本的方法（gptq、descent、awq）会另选点，让后面的权重抵消前面的误差。"},
    Bilingual{"No weight moves further than to a point near by: what the network would have learnt with four points to "
              "choose from, it never finds.",
              "权重只会移到邻近的点：如果一开始就只有四个点，网络会学成别的样子，而这样的解是找不到的。"}};
constexpr std::array kPtqCommands = {
    TopicCommand{"nibble quantize models/fable-5M -f int4:g128 --method gptq --text models/fable-5M/calibration.txt -o "
                 "fable-gptq",
                 {"minutes, with the calibration text", "几分钟，用校准文本"}},
    TopicCommand{"nibble compare models/fable-5M -f int8:row,int4:g128,int3:g128,int2:g64",
                 {"where it begins to fail", "看从几位开始失效"}}};

constexpr Topic kPtq = {
    "ptq",
    kPtqNames,
    {"PTQ: quantization after training", "PTQ：训练后量化"},
    {"Weights of a finished network are rounded to the points of a format. Good at 8 bits, usable at 4, and a ruin at "
     "2.",
     "把训练好的网络的权重舍入到格式的点上。8 位很好，4 位可用，2 位会毁掉模型。"},
    {"Whenever 4 bits or more will do: it needs minutes and a little text, or none.",
     "4 位或更多就够用时：只需几分钟和少量文本，甚至不需要文本。"},
    {"Try rounding first, then gptq or descent with text like yours; judge by the divergence from the original. Below "
     "3 "
     "bits go on with qat.",
     "先试直接舍入，再用 gptq 或 descent 配合与你用途相近的文本；用与原模型的散度来判断。低于 3 位时接着看 qat。"},
    {"Every bit less makes the loss about four times as large, until at 2 bits nothing near by is left to choose.",
     "每少一位，损失约为原来的四倍；到 2 位时附近已经没有可选的点了。"},
    kPtqProcess,
    kPtqCommands,
    kPtqFormats};

constexpr std::array kQatNames = {std::string_view("quantization-aware"), std::string_view("ste")};
constexpr std::array kQatFormats = {std::string_view("int4:g32"), std::string_view("int2:g32:half"),
                                    std::string_view("ternary:row"), std::string_view("binary:row")};
constexpr std::array kQatProcess = {
    Bilingual{
        "Behind every weight there is a number in f32, its master. A step of training goes forwards with what the "
        "format would store of it.",
        "每个权重背后有一个 f32 的主权重。训练的每一步前向时，用的都是格式会存下来的值。"},
    Bilingual{"Rounding has the slope 0 almost everywhere, so the gradient is handed to the master as if nothing had "
              "been rounded (straight through).",
              "舍入几乎处处斜率为 0，所以梯度直接交给主权重，就像没有舍入一样（直通估计 STE）。"},
    Bilingual{"Masters creep: one at 0.19 that is pushed by 0.002 a step crosses the middle between 0.1 and 0.3 after "
              "six steps, and its code changes. Scales are learnt, too (lsq, seq).",
              "主权重慢慢移动：0.19 的主权重每步被推 0.002，六步后越过 0.1 与 0.3 "
              "的中点，编码随之改变。尺度也一起学习（lsq、seq）。"},
    Bilingual{
        "With the original as the teacher, what is made small is the divergence from what it says of every token.",
        "以原模型为教师时，要减小的是与它对每个词元的预测之间的散度。"}};
constexpr std::array kQatCommands = {
    TopicCommand{"nibble train --from models/fable-5M --teacher models/fable-5M --text models/fable-5M/calibration.txt "
                 "--quantize int2:g64 -o fable-qat",
                 {"2 bits, from a trained model", "2 位，从训练好的模型开始"}},
    TopicCommand{"nibble train --config models/fable-5M --text models/fable-5M/calibration.txt --quantize ternary:row "
                 "--estimator absmean -o mine",
                 {"ternary from nothing, as BitNet b1.58", "从零训练三值网络，同 BitNet b1.58"}},
    TopicCommand{"nibble eval fable-qat --against models/fable-5M --text models/fable-5M/heldout.txt",
                 {"what is left", "看还剩多少"}}};

constexpr Topic kQat = {
    "qat",
    kQatNames,
    {"QAT: quantization-aware training", "QAT：量化感知训练"},
    {"The network is trained, or trained on, while its weights are rounded, and so finds weights that do well with the "
     "few points that there are.",
     "一边舍入一边训练（或继续训练），网络就会找到只用这少数几个点也表现良好的权重。"},
    {"At 2 bits, ternary and binary, where rounding afterwards fails; hardly ever at 4 and more.",
     "2 位、三值、二值，也就是训练后量化失效的地方；4 位及以上几乎用不着。"},
    {"Begin with a trained model and let it be the teacher; hold a part of the text out and stop where that gets no "
     "better (--patience). More text helps more than more steps.",
     "从训练好的模型开始，并让它当教师；留出一部分文本，不再变好就停（--patience）。多些文本比多些步数更有用。"},
    {"A small model of stories in 2 bits (int2:g64:half), KL divergence from the original: rounded 0.272, by gptq "
     "0.138, "
     "trained 0.090 after a quarter of an hour; in ternary numbers (ternary:row): rounded 0.566, by awq 0.338, trained "
     "0.152. A billion parameters take hours of many cores. Below, for comparison, what rounding alone leaves of "
     "another small model.",
     "一个讲故事的小模型用 2 位（int2:g64:half），与原模型的 KL 散度：直接舍入 0.272，gptq 0.138，训练一刻钟后 0.090；"
     "三值（ternary:row）：直接舍入 0.566，awq 0.338，训练后 0.152。十亿参数需要多核数小时。"
     "下表是另一个小模型只舍入、不训练的结果，供对照。"},
    kQatProcess,
    kQatCommands,
    kQatFormats};

}  // namespace nibble::topics
