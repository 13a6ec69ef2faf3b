// SPDX-License-Identifier: Apache-2.0
//
// A report as one HTML page that needs nothing but itself: text, style, scripts, Chart.js and the figures are all
// inside.
//
//   file.write(html_page(page_figures(comparison, options)));
#pragma once

#include <string>

#include "report/json_report.h"

namespace nibble {

// figures: from page_figures; what the page's script reads (src/report/page/page.js): title, summary, nibble, coverage,
// original, metrics, texts, candidates, contests, tasks, settings. What is missing is not shown.
std::string html_page(const Json& figures);

}  // namespace nibble
