// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace nibble {

std::string bytes_text(std::uint64_t bytes);             // "512 B", "3.57 MB", "2.47 GB": powers of 1000, three digits
std::string count_text(std::uint64_t count);             // "5.77 M", "1.24 B"
std::string grouped_text(std::uint64_t count);           // "3,741,088"
std::string percent_text(double share, int digits = 1);  // 0.321 -> "32.1 %"
std::string signed_percent_text(double change, int digits = 2);  // 0.0123 -> "+1.23 %"
std::string significant_text(double value, int digits = 3);      // 0.00123456 -> "0.00123", 52341 -> "52341"
std::string fixed_text(double value, int digits);
std::string range_text(const std::string& low, const std::string& high);  // "3 - 7"; "3" where both are the same
std::string speed_text(double tokens_per_second);                         // "1234", "56.7", "0.123"
std::string duration_text(double seconds);                                // "0.8 s", "74 s", "12 min 30 s", "3 h 5 min"

}  // namespace nibble
