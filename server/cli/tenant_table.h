#pragma once

#include <ostream>
#include <vector>

#include "quire/v1/config.pb.h"

namespace quire::cli {

// One row a tenant, one column for each field that any of them has; of a list, its length.
void PrintTenants(const std::vector<v1::TenantConfig>& tenants, std::ostream& out);

}  // namespace quire::cli
