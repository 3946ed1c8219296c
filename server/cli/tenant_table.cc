#include "server/cli/tenant_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using google::protobuf::FieldDescriptor;

std::string Cell(const v1::TenantConfig& tenant, const FieldDescriptor* field) {
  const google::protobuf::Reflection& reflection = *v1::TenantConfig::GetReflection();
  if (field->is_repeated()) {
    const int count = reflection.FieldSize(tenant, field);
    return count == 0 ? "-" : absl::StrCat(count);
  }
  if (!reflection.HasField(tenant, field)) return "-";
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection.GetInt32(tenant, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection.GetInt64(tenant, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(reflection.GetDouble(tenant, field));
    default:
      return reflection.GetString(tenant, field);
  }
}

}  // namespace

void PrintTenants(const std::vector<v1::TenantConfig>& tenants, std::ostream& out) {
  const google::protobuf::Descriptor& type = *v1::TenantConfig::descriptor();
  std::vector<const FieldDescriptor*> columns;
  std::vector<std::string> header;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* const field = type.field(i);
    const bool used = std::any_of(tenants.begin(), tenants.end(),
                                  [&](const auto& tenant) { return Cell(tenant, field) != "-"; });
    if (!used) continue;
    columns.push_back(field);
    header.push_back(field->name());
  }
  TextTable table(std::move(header));
  for (const v1::TenantConfig& tenant : tenants) {
    std::vector<std::string> row;
    row.reserve(columns.size());
    for (const FieldDescriptor* column : columns) row.push_back(Cell(tenant, column));
    table.AddRow(std::move(row));
  }
  table.Print(out);
}

}  // namespace quire::cli
