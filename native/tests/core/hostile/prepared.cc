#include "tests/core/hostile/prepared.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace nl_testing {
namespace {

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool Contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

class Preparation {
 public:
  Prepared Make() {
    for (const Struct& s : of_.structs) made_.structs.push_back({&s, {}});
    for (PreparedStruct& s : made_.structs) Fill(s);
    // In their order, as a plan stands before what it plans.
    made_.functions.reserve(of_.functions.size());
    for (const Function& f : of_.functions) {
      made_.functions.push_back({});
      Fill(f, made_.functions.back());
    }
    FindStaleRules();
    return std::move(made_);
  }

 private:
  void Unknown(const std::string& what) { made_.unknown.push_back(what); }

  const PreparedStruct* FindStruct(const Struct* of) const {
    for (const PreparedStruct& s : made_.structs) {
      if (s.of == of) return &s;
    }
    return nullptr;
  }

  // Fields that shapes or pieces of the struct depend on.
  static bool IsDimension(const std::string& struct_name, size_t word) {
    const std::string stem = struct_name.substr(0, struct_name.rfind('_'));
    for (const auto& [name, shape] : Shapes()) {
      if (name.rfind(stem, 0) != 0) continue;
      for (const auto& factor : shape.factors) {
        if (!factor.is_number && factor.word == word) return true;
      }
    }
    return false;
  }

  void Fill(PreparedStruct& s) {
    for (const Field& field : s.of->fields) {
      const std::string name = s.of->name + "." + field.name;
      PreparedField prepared = {&field, Role::kScalar, WordOf(field.name)};
      if (field.kind == Kind::kPointer) {
        FillPointer(name, prepared);
      } else if (field.kind != Kind::kFloat && field.kind != Kind::kDouble) {
        FillNumber(*s.of, name, prepared);
      }
      s.fields.push_back(prepared);
    }
  }

  void FillPointer(const std::string& name, PreparedField& prepared) {
    const Field& field = *prepared.field;
    if (const Struct* nested = of_.FindStruct(field.type)) {
      prepared.role = Role::kStruct;
      prepared.nested = FindStruct(nested);
      return;
    }
    prepared.role = Role::kNumbers;
    const auto shape = Shapes().find(name);
    if (shape == Shapes().end()) return Unknown(name + " has no shape");
    prepared.shape = &shape->second;
    if (field.type == "int32_t") {
      const auto range = Indices().find(name);
      if (range == Indices().end()) return Unknown(name + " has no range");
      prepared.low = range->second.first;
      prepared.limit = WordOf(range->second.second);
    }
    if (!Contains({"float", "double", "void", "int32_t"}, field.type)) {
      Unknown(name + " leads to " + field.type);
    }
  }

  void FillNumber(const Struct& s, const std::string& name, PreparedField& prepared) {
    const std::string& field = prepared.field->name;
    if (field == "size") {
      prepared.role = Role::kSize;
    } else if (field == "reserved") {
      prepared.role = Role::kReserved;
    } else if (s.name == "nl_gemm_sizes") {
      prepared.role = Role::kDimension;
    } else if (const auto setting = Settings().find(name); setting != Settings().end()) {
      prepared.role = Role::kSetting;
      std::tie(prepared.low, prepared.high) = setting->second;
    } else if (IsDimension(s.name, prepared.word)) {
      prepared.role = Role::kDimension;
    } else {
      Unknown(name + " is neither a dimension nor a setting with a range");
    }
  }

  void Fill(const Function& f, PreparedFunction& made) {
    made.function = &f;
    made.names.insert("pieces");
    made.returns_status = !Contains(PlainFunctions(), f.name);
    const auto found = FunctionRules().find(f.name);
    if (made.returns_status && found == FunctionRules().end()) {
      return Unknown(f.name + " has no rule");
    }
    if (f.arity != f.parameters.size()) Unknown(f.name + " has other parameters");
    static const FunctionRule none;
    const FunctionRule& rule = made.returns_status ? found->second : none;
    for (const Parameter& p : f.parameters) {
      made.names.insert(p.name);
      PreparedParameter prepared = {&p, Form::kPosition, WordOf(p.name)};
      FillForm(f, rule, prepared);
      made.parameters.push_back(prepared);
      made.has_gradients = made.has_gradients || prepared.form == Form::kGradients;
      if (prepared.of != nullptr) AddNames(*prepared.of, made.names);
    }
    FillPieces(f, rule, made);
    for (const std::string& plan : rule.plans) {
      const auto at = std::find_if(made_.functions.begin(), made_.functions.end(),
                                   [&](const auto& o) { return o.function->name == plan; });
      if (at == made_.functions.end()) return Unknown(f.name + "'s " + plan + " is not before it");
      made.plans.push_back(&*at);
    }
    AddAliases(f, made);
  }

  void FillForm(const Function& f, const FunctionRule& rule, PreparedParameter& made) {
    const std::string &type = made.parameter->type, &name = made.parameter->name;
    if (const Struct* s = of_.StructOf(*made.parameter)) {
      made.of = FindStruct(s);
      made.form = type.rfind("const ", 0) != 0      ? Form::kSizes
                  : EndsWith(s->name, "_gradients") ? Form::kGradients
                                                    : Form::kArguments;
    } else if (type == "int64_t" && name == "begin") {
      made.form = Form::kBegin;
    } else if (type == "int64_t" && name == "end") {
      made.form = Form::kEnd;
    } else if (type == "int64_t" && name == "pass") {
      made.form = Form::kPass;
    } else if (type == "int64_t" && (name == "count" || name == "batch")) {
      made.form = Form::kCount;
    } else if (type == "int64_t*" || type == "int32_t*") {
      made.form = Form::kResult;
    } else if (rule.shapes.count(name) > 0 &&
               Contains({"float*", "const float*", "double*"}, type)) {
      made.form = Form::kNumbers;
      made.shape = &rule.shapes.at(name);
    } else if (type == "int32_t" && (name == "target" || name == "ask")) {
      made.form = Form::kPosition;
    } else if (type == "const char*") {
      made.form = Form::kText;
    } else {
      Unknown(f.name + "'s parameter " + type + " " + name);
    }
  }

  static void AddNames(const PreparedStruct& s, std::set<std::string>& names) {
    names.insert(s.of->name);
    for (const PreparedField& field : s.fields) {
      names.insert(field.field->name);
      if (field.nested != nullptr) AddNames(*field.nested, names);
    }
  }

  void FillPieces(const Function& f, const FunctionRule& rule, PreparedFunction& made) {
    const bool has = std::any_of(made.parameters.begin(), made.parameters.end(),
                                 [](const auto& p) { return p.form == Form::kBegin; });
    if (has == rule.pieces.factors.empty()) Unknown(f.name + " has pieces, or a rule for them");
    if (!has) return;
    made.pieces = &rule.pieces;
    made.is_bounded = rule.pieces.factors[0].word != WordOf("elements");
  }

  void AddAliases(const Function& f, PreparedFunction& made) {
    for (const Alias& alias : Aliases()) {
      if (!alias.functions.empty() && !Contains(alias.functions, f.name)) continue;
      const size_t dot = alias.output.find('.');
      for (const PreparedParameter& p : made.parameters) {
        if (p.of == nullptr || p.of->of->name != alias.output.substr(0, dot)) continue;
        PreparedAlias prepared = {nullptr, nullptr};
        for (const PreparedField& field : p.of->fields) {
          if (field.field->name == alias.output.substr(dot + 1)) prepared.output = &field;
          if (field.field->name == alias.input) prepared.input = &field;
        }
        if (prepared.output == nullptr || prepared.input == nullptr) {
          return Unknown(alias.output + " or " + alias.input + ", which may be one,");
        }
        made.aliases.push_back(prepared);
      }
    }
  }

  void FindStaleRules() {
    const auto stale = [&](const std::string& name) {
      const size_t dot = name.find('.');
      const Struct* s = of_.FindStruct(name.substr(0, dot));
      if (s == nullptr || s->Find(name.substr(dot + 1)) == nullptr) {
        Unknown("the rule of " + name + ", which is not declared,");
      }
    };
    for (const auto& shape : Shapes()) stale(shape.first);
    for (const auto& setting : Settings()) stale(setting.first);
    for (const auto& range : Indices()) stale(range.first);
    for (const auto& rule : FunctionRules()) {
      if (of_.FindFunction(rule.first) == nullptr) Unknown("the rule of " + rule.first);
    }
  }

  const Interface& of_ = Interface::Get();
  Prepared made_;
};

}  // namespace

const Prepared& Prepared::Get() {
  static const Prepared made = Preparation().Make();
  return made;
}

}  // namespace nl_testing
