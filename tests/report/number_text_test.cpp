// SPDX-License-Identifier: Apache-2.0
#include "report/number_text.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nibble {
namespace {

TEST(NumberText, Bytes) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "1.00 kB");
  EXPECT_EQ(bytes_text(3741088), "3.74 MB");
  EXPECT_EQ(bytes_text(23177088), "23.2 MB");
  EXPECT_EQ(bytes_text(999600), "1.00 MB");  // not 1000 kB
  EXPECT_EQ(bytes_text(2471645608), "2.47 GB");
}

TEST(NumberText, Counts) {
  EXPECT_EQ(count_text(260), "260");
  EXPECT_EQ(count_text(5770000), "5.77 M");
  EXPECT_EQ(count_text(1235814400), "1.24 B");
  EXPECT_EQ(grouped_text(0), "0");
  EXPECT_EQ(grouped_text(999), "999");
  EXPECT_EQ(grouped_text(1000), "1,000");
  EXPECT_EQ(grouped_text(3741088), "3,741,088");
}

TEST(NumberText, Shares) {
  EXPECT_EQ(percent_text(0.321), "32.1 %");
  EXPECT_EQ(signed_percent_text(-1e-9), "+0.00 %");
  EXPECT_EQ(signed_percent_text(0.0123), "+1.23 %");
  EXPECT_EQ(signed_percent_text(-0.5, 0), "-50 %");
}

TEST(NumberText, SignificantDigits) {
  EXPECT_EQ(significant_text(0), "0");
  EXPECT_EQ(significant_text(0.00123456), "0.00123");
  EXPECT_EQ(significant_text(12.3456), "12.3");
  EXPECT_EQ(significant_text(52341.7), "52342");
  EXPECT_EQ(significant_text(-0.5), "-0.500");
  EXPECT_EQ(significant_text(0.0000123), "1.23e-05");
  EXPECT_EQ(significant_text(std::nan("")), "nan");
}

TEST(NumberText, SpeedsAndTimes) {
  EXPECT_EQ(speed_text(1234.5), "1234");
  EXPECT_EQ(speed_text(56.78), "56.8");
  EXPECT_EQ(speed_text(0.1234), "0.123");
  EXPECT_EQ(duration_text(0.84), "0.8 s");
  EXPECT_EQ(duration_text(74.2), "74 s");
  EXPECT_EQ(duration_text(750), "12 min 30 s");
  EXPECT_EQ(duration_text(11100), "3 h 5 min");
}

}  // namespace
}  // namespace nibble
