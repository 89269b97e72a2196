package wire

import (
	"encoding"
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// ValidText reports whether all text in value is valid UTF-8. encoding/json
// replaces invalid UTF-8 without an error, so this is checked before. The value
// must have been encoded before: then it has no cycles. The inside of a value
// that encodes itself is not checked.
func ValidText(value any) bool { return validText(reflect.ValueOf(value)) }

// validText finds the invalid UTF-8 that encoding/json replaces without a word.
// Its value was encoded: it has no cycles, but maybe in what encodes itself,
// which is not looked into.
func validText(v reflect.Value) bool {
	if v.IsValid() && encodesItself(v.Type()) {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return validText(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !validText(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if !validText(key) || !validText(value) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			encoded := (field.IsExported() || field.Anonymous) && field.Tag.Get("json") != "-"
			if encoded && !validText(v.Field(i)) {
				return false
			}
		}
	default: // no text
	}
	return true
}

func encodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t) // has the methods of both
	return pointer.Implements(reflect.TypeFor[json.Marshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
