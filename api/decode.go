package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"

	fastjson "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/drover-io/drover/internal/nearest"
)

// maxNesting bounds how deep a JSON body may nest; the decoder would follow it to the end of the stack.
const maxNesting = 64

// decodeStrict decodes a user's body. Unknown fields are refused, with the nearest name that exists.
func decodeStrict(data []byte, into any) error { return decode(data, into, true) }

// decodeLenient decodes an agent's body.
func decodeLenient(data []byte, into any) error { return decode(data, into, false) }

func decode(data []byte, into any, strict bool) error {
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}") // a body that says nothing
	}
	if nesting(data) > maxNesting {
		return NewError(CodeTooLarge, "", "the body nests deeper than %d", maxNesting)
	}
	if fastjson.Unmarshal(data, into, jsonv1.DefaultOptionsV1(), fastjson.RejectUnknownMembers(strict)) == nil {
		return nil
	}
	// encoding/json takes longer and says what is wrong.
	reflect.ValueOf(into).Elem().SetZero()
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return badBody(err, reflect.TypeOf(into))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return NewError(CodeInvalid, "", "something follows the body's JSON value")
	}
	return nil
}

// nesting is how deep the brackets of a JSON text nest, or would nest if it were one.
func nesting(data []byte) int {
	depth, deepest := 0, 0
	inString, escaped := false, false
	for _, b := range data {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = b == '\\'
			inString = b != '"'
		case b == '"':
			inString = true
		case b == '{' || b == '[':
			depth++
			deepest = max(deepest, depth)
		case b == '}' || b == ']':
			depth--
		}
	}
	return deepest
}

// badBody says what is wrong with a body.
func badBody(err error, t reflect.Type) *Error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return NewError(CodeInvalid, "", "the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind):
		return NewError(CodeInvalid, "", "the body's %s is a %s, want a %s", orValue(kind.Field), kind.Value, kind.Type)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return NewError(CodeInvalid, "", "the body is not JSON: it ends early")
	}
	// encoding/json has no type for this one; a change of its words costs only the hint.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		return NewError(CodeInvalid, didYouMean(nearest.Name(name, fieldNames(t))), "the body's field %q is not known", name)
	}
	return NewError(CodeInvalid, "", "decode the body: %s", err)
}

func orValue(field string) string {
	if field == "" {
		return "value"
	}
	return "field " + field
}

// didYouMean makes a hint of a name, "" of none.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "did you mean " + name + "?"
}

// fieldNames are the JSON names of a struct's fields, and of the structs in it.
func fieldNames(t reflect.Type) []string {
	seen := map[reflect.Type]bool{}
	var names []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && name != "-" {
				names = append(names, firstOf(name, f.Name))
				walk(f.Type)
			}
		}
	}
	walk(t)
	return names
}
