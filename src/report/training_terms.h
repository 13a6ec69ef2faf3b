// SPDX-License-Identifier: Apache-2.0
//
// The words of training of `nibble explain`. Internal to report/.
#pragma once

#include <array>
#include <string_view>

#include "report/glossary.h"

namespace nibble::terms {

using Names = std::string_view;
constexpr std::span<const std::string_view> kNone;
constexpr std::array kTeacher = {Names("teacher"), Names("kd")};
constexpr std::array kMasters = {Names("master")};
constexpr std::array kEstimator = {Names("estimators"), Names("ste"), Names("straight-through")};
constexpr std::array kSigns = {Names("sign"), Names("xnor"), Names("bnn")};

constexpr std::string_view kRounded =
    "nibble train --from MODEL --teacher MODEL --text mine.txt --quantize int2:g64 -o small";

constexpr std::array kTraining = {
    Term{TermKind::estimator,
         "lsq",
         kNone,
         {"Learned step size: while a model is trained with rounded weights the scale of each group is learnt beside "
          "them. "
          "For any points.",
          "学习步长：在舍入权重的同时训练模型，每组的尺度也一起学习。适用于任何点。"},
         kRounded},
    Term{TermKind::estimator,
         "seq",
         kNone,
         {"Stretched elastic quantization (ParetoQ): as lsq, but weights half a step beyond the outermost points still "
          "learn. "
          "For three or four points.",
          "拉伸弹性量化（ParetoQ）：与 lsq 相同，但超出最外侧点半步以内的权重仍能学习。适用于三四个点。"},
         kRounded},
    Term{
        TermKind::estimator,
        "twn",
        kNone,
        {"Ternary weight networks: while a model is trained, weights above 0.7 of the mean magnitude are kept as their "
         "mean, "
         "the rest is 0.",
         "三值权重网络：训练时保留超过平均绝对值 0.7 倍的权重，取其均值，其余为 0。"},
        kRounded},
    Term{TermKind::estimator,
         "ttq",
         kNone,
         {"Trained ternary quantization: 0 and a learned number for each sign, which tables of four points hold "
          "(table2:row).",
          "训练三值量化：0 加上正负各一个学习得到的数，存入四个点的表（table2:row）。"},
         kRounded},
    Term{TermKind::estimator,
         "bwn",
         kNone,
         {"Binary weight networks (XNOR-Net): while a model is trained its weights are signs times their mean "
          "magnitude.",
          "二值权重网络（XNOR-Net）：训练时权重取符号乘以平均绝对值。"},
         kRounded},
    Term{TermKind::data,
         "estimator",
         kEstimator,
         {"What stands for the slope of rounding, which is flat, while weights are trained rounded: how masters become "
          "codes, and what of a gradient reaches them and their scales. lsq, seq, twn, ttq, bwn, absmean; --estimator "
          "chooses one, and by default a format has the one that serves it best.",
          "估计器：训练中权重被舍入，而舍入函数处处平坦；估计器规定主权重如何变成编码，以及梯度以何种形式传到主权重与尺"
          "度。"
          "可选 lsq、seq、twn、ttq、bwn、absmean，用 --estimator 指定；默认按格式取最合适者。"},
         kRounded},
    Term{TermKind::data,
         "signs",
         kSigns,
         {"What a small net's inner products read is cut to 1 and -1 behind a norm by channel, as in XNOR-Net: beside "
          "binary weights a product is then a count of equal bits. Slopes pass where a number lies between -1 and 1. "
          "The "
          "coarsest arithmetic there is: wide matrices lose half a point by it, small convolutions four.",
          "符号：小型网络内部各层的输入经逐通道归一化后只取 1 与 -1（如 "
          "XNOR-Net）；配合二值权重，乘积即为相同比特的计数。"
          "数值在 -1 与 1 之间时梯度直接通过。这是最粗的运算：宽矩阵约损失半个百分点，小卷积约四个百分点。"},
         "nibble train-net net.onnx --data x.npy --labels y.npy --anew -q binary --signs -o net1.onnx"},
    Term{TermKind::data,
         "distillation",
         kTeacher,
         {"Training on what another model, the teacher, says of every token that may follow, in place of the one word "
          "that "
          "does. It needs less text.",
          "蒸馏：不是学习文本中的下一个词，而是学习另一个模型（教师）对每个可能的下一个词元的预测。所需文本更少。"},
         kRounded},
    Term{
        TermKind::data,
        "distill",
        kNone,
        {"A verb: what lies beside a quantized model's codes (scales, biases, norms; with --codes the codes, too, "
         "with --train-embedding the embedding) is trained to predict what its original predicts. The file stays as "
         "large.",
         "一个命令：训练量化模型中编码以外的部分（尺度、分组偏置、归一化；加 --codes 时连同编码，加 --train-embedding "
         "时连同嵌入），使其预测接近原模型。文件大小不变。"},
        "nibble distill small.gguf --original MODEL --text calibration.txt -o better.gguf"},
    Term{
        TermKind::data,
        "masters",
        kMasters,
        {"The numbers in f32 behind weights that are rounded while they are trained: steps go to them, and the network "
         "reads "
         "what a format stores of them.",
         "主权重：训练中被舍入的权重背后的 f32 数。更新作用在它们上，网络读到的是格式存下来的值。"},
        kRounded},
};

}  // namespace nibble::terms
