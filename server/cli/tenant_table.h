#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "quire/v1/config.pb.h"

namespace quire::cli {

// One row a tenant, one column for each field that any of them has; then how calls say whose they
// are.
void PrintTenants(const std::vector<v1::TenantConfig>& tenants, const std::string& metadata_key,
                  std::ostream& out);

}  // namespace quire::cli
