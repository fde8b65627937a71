package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// schemas turns Go types into JSON schemas as encoding/json writes and reads them. Structs become components, by their name.
type schemas struct {
	components object
	names      map[reflect.Type]string
	taken      map[string]reflect.Type
	requested  map[reflect.Type]bool // appear in a request: their fields may be left out
}

func typeError() reflect.Type { return reflect.TypeFor[Error]() }

func newSchemas(routes []Route) *schemas {
	s := &schemas{components: object{}, names: map[reflect.Type]string{}, taken: map[string]reflect.Type{}, requested: map[reflect.Type]bool{}}
	for _, r := range routes {
		if r.Request != nil {
			s.request(r.Request)
		}
	}
	return s
}

// request marks every struct that a request holds.
func (s *schemas) request(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		s.request(t.Elem())
	case reflect.Struct:
		if s.requested[t] {
			return
		}
		s.requested[t] = true
		for _, f := range jsonFields(t) {
			s.request(f.Type)
		}
	}
}

// of is the schema of a type.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "nanoseconds"}
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "format": "uint64", "minimum": 0}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return object{"$ref": "#/components/schemas/" + s.component(t)}
	}
	return object{} // any
}

// component adds a struct to the components and returns its name.
func (s *schemas) component(t reflect.Type) string {
	if name, known := s.names[t]; known {
		return name
	}
	name := t.Name()
	if i := strings.IndexByte(name, '['); i >= 0 {
		name = name[:i] // of a generic type
	}
	if of, ok := strings.CutSuffix(name, "Response"); ok {
		name = of + "Answer" // generators make an operation's Response of their own
	}
	if other := s.taken[name]; name == "" || other != nil { // of another package
		pkg := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	s.names[t], s.taken[name] = name, t
	properties, required := object{}, []string{}
	fields := jsonFields(t)
	for _, field := range mapKeys(fields) { // in order: of two types of one name always the same gets it
		f := fields[field]
		schema := s.of(f.Type)
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		omitted := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if !omitted && nilable(f.Type) {
			schema = orNull(schema)
		}
		if !omitted {
			required = append(required, field)
		}
		properties[field] = schema
	}
	component := object{"type": "object", "properties": properties}
	if !s.requested[t] && len(required) > 0 {
		component["required"] = required
	}
	s.components[name] = component
	return name
}

// nilable reports whether a field of the type may be null.
func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return t != reflect.TypeFor[json.RawMessage]()
	}
	return false
}

// orNull lets a schema be null too.
func orNull(schema object) object {
	if kind, ok := schema["type"].(string); ok {
		schema["type"] = []string{kind, "null"}
		return schema
	}
	if _, ref := schema["$ref"]; ref {
		return object{"oneOf": []any{schema, object{"type": "null"}}}
	}
	return schema
}
