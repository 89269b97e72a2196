package contract_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// variant is a value that a schema allows, and a text that says what is special
// about it. The value is decoded by encoding/json with UseNumber.
type variant struct {
	what  string
	value any
}

// variants returns values that a schema allows, the same in every run. These
// are each example, each value of an enum, each branch of a union, null if it
// is allowed, and the bounds of lengths and numbers. For an object these are:
// all members at once, each optional member absent in turn, and each member in
// each of its own variants.
func variants(t *testing.T, ref *openapi3.SchemaRef) (all []variant) {
	t.Helper()
	all = candidates(t, ref.Value)
	// other values are built from allowed parts
	if s := ref.Value; s.Not != nil || len(s.Properties) == 0 && s.Items == nil {
		all = slices.DeleteFunc(all, func(v variant) bool { return !allows(ref.Value, v.value) })
	}
	require.NotEmpty(t, all, "nothing can be generated from schema %s", ref.Ref)
	return all
}

func allows(schema *openapi3.Schema, value any) bool {
	return schema.VisitJSON(value, openapi3.EnableJSONSchema2020()) == nil
}

func candidates(t *testing.T, schema *openapi3.Schema) (all []variant) {
	t.Helper()
	for _, value := range slices.Concat(schema.Examples, schema.Enum) {
		value = exact(t, value)
		all = append(all, variant{fmt.Sprintf("%v", value), value})
	}
	if len(all) > 0 {
		return all
	}
	for _, branch := range slices.Concat(schema.OneOf, schema.AnyOf) {
		all = append(all, variants(t, branch)...)
	}
	for _, kind := range schema.Type.Slice() {
		all = append(all, ofKind(t, schema, kind)...)
	}
	return all
}

// exact returns a value as encoding/json decodes it with UseNumber.
func exact(t *testing.T, value any) any {
	t.Helper()
	return decoded(t, []byte(quoted(t, value)))
}

func ofKind(t *testing.T, schema *openapi3.Schema, kind string) []variant {
	t.Helper()
	switch kind {
	case openapi3.TypeNull:
		return []variant{{"null", nil}}
	case openapi3.TypeBoolean:
		return []variant{{"true", true}, {"false", false}}
	case openapi3.TypeInteger:
		return integers(schema)
	case openapi3.TypeNumber:
		return []variant{{"a number", json.Number("1.5")}}
	case openapi3.TypeString:
		return texts(t, schema)
	case openapi3.TypeArray:
		return lists(t, schema)
	case openapi3.TypeObject:
		return objects(t, schema)
	}
	require.FailNow(t, "a type that no value is known of: "+kind)
	return nil
}

// integers returns the bounds, and the first number that a float64 cannot hold.
func integers(schema *openapi3.Schema) (all []variant) {
	least, most := "1", "9223372036854775807"
	if schema.Min != nil {
		least = fmt.Sprintf("%.0f", *schema.Min)
	}
	if schema.Max != nil {
		most = fmt.Sprintf("%.0f", *schema.Max)
	}
	for _, text := range []string{least, "9007199254740993", most} {
		all = append(all, variant{text, json.Number(text)})
	}
	return all
}

func texts(t *testing.T, schema *openapi3.Schema) []variant {
	t.Helper()
	require.Empty(t, schema.Pattern+schema.Format, "a text of a certain form: the schema needs examples")
	all := []variant{
		{"a text", "subcampaign"},
		{"an odd text", "Ünï \"quoted\" \\ </script> \u2028 \U0001F600"},
		{"an empty text", ""},
	}
	if schema.MaxLength != nil {
		longest := make([]rune, *schema.MaxLength)
		for i := range longest {
			longest[i] = 'é'
		}
		all = append(all, variant{"the longest text", string(longest)})
	}
	return all
}

// lists returns the empty list, a list for each variant of the element, and a
// list with all of these.
func lists(t *testing.T, schema *openapi3.Schema) []variant {
	t.Helper()
	all := []variant{{"no elements", []any{}}}
	var together []any
	for _, element := range variants(t, schema.Items) {
		all = append(all, variant{"[" + element.what + "]", []any{element.value}})
		together = append(together, element.value)
	}
	return append(all, variant{"all elements", together})
}

func objects(t *testing.T, schema *openapi3.Schema) (all []variant) {
	t.Helper()
	members := make(map[string][]variant)
	whole := make(map[string]any)
	for name, property := range schema.Properties {
		members[name] = variants(t, property)
		whole[name] = members[name][0].value
	}
	with := func(what, name string, value any) {
		object := maps.Clone(whole)
		object[name] = value
		all = append(all, variant{what, object})
	}
	all = append(all, variant{"all members", whole})
	for _, name := range slices.Sorted(maps.Keys(members)) {
		for _, v := range members[name][1:] {
			with(name+": "+v.what, name, v.value)
		}
		if !slices.Contains(schema.Required, name) {
			object := maps.Clone(whole)
			delete(object, name)
			all = append(all, variant{"without " + name, object})
		}
	}
	switch more := schema.AdditionalProperties; {
	case more.Schema != nil:
		for _, v := range more.Schema.Value.OneOf {
			with("a further member: "+v.Ref, "member", variants(t, v)[0].value)
		}
		all = append(all, furtherMembers(t, more.Schema)...)
	case more.Has != nil && *more.Has:
		with("a further member", "further", map[string]any{"list": []any{json.Number("1.0"), nil, "text"}})
	}
	return all
}

// furtherMembers returns objects with one further member of each variant, and
// an object with a member of each branch of the union.
func furtherMembers(t *testing.T, schema *openapi3.SchemaRef) (all []variant) {
	t.Helper()
	for _, v := range variants(t, schema) {
		all = append(all, variant{"member: " + v.what, map[string]any{"member": v.value}})
	}
	together := make(map[string]any)
	for i, branch := range schema.Value.OneOf {
		for j, kind := range branch.Value.Type.Slice() {
			together[fmt.Sprintf("member%d%d", i, j)] = lastOf(ofKind(t, branch.Value, kind))
		}
	}
	return append(all, variant{"members of each kind", together})
}

func lastOf(all []variant) any { return all[len(all)-1].value }
