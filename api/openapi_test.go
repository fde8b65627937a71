package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// description is the API's description as a client reads it, for tests to hold answers against.
type description struct {
	doc      any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
}

// theDescription is made once: every route of the matrix needs it.
var theDescription = sync.OnceValues(func() (*description, error) {
	data, err := json.Marshal(OpenAPI(Routes(), "test"))
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	return &description{doc: doc, compiler: c}, c.AddResource("openapi.json", doc)
})

// schema compiles a part of the description.
func (d *description) schema(pointer ...string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := "openapi.json#"
	for _, part := range pointer {
		at += "/" + url.PathEscape(strings.ReplaceAll(strings.ReplaceAll(part, "~", "~0"), "/", "~1"))
	}
	return d.compiler.Compile(at)
}

// described reports why an answer of a route is not what the description says.
func described(r *Route, media string, data []byte) error {
	d, err := theDescription()
	if err != nil {
		return err
	}
	schema, err := d.schema("paths", openAPIPath(r.Path), strings.ToLower(r.Method), "responses", "200", "content", media, "schema")
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// at reads a part of a JSON document.
func at(doc any, path ...string) any {
	for _, p := range path {
		m, _ := doc.(map[string]any)
		doc = m[p]
	}
	return doc
}

// TestOpenAPI holds the description against the official schema of OpenAPI 3.1 (testdata, by the OpenAPI Initiative, Apache-2.0), and
// against the table.
func TestOpenAPI(t *testing.T) {
	d, err := theDescription()
	if err != nil {
		t.Fatal(err)
	}
	official, err := os.Open("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = official.Close() }()
	schema, err := jsonschema.UnmarshalJSON(official)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("official.json", schema); err != nil {
		t.Fatal(err)
	}
	if err := c.MustCompile("official.json").Validate(d.doc); err != nil {
		t.Errorf("the description is no OpenAPI 3.1:\n%v", err)
	}
	components, _ := at(d.doc, "components", "schemas").(map[string]any)
	for name := range components {
		if _, err := d.schema("components", "schemas", name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	refs(t, d.doc, d.doc)
}

// refs checks that every reference leads somewhere.
func refs(t *testing.T, doc, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
			t.Errorf("the reference %s leads nowhere", ref)
		}
		for _, inner := range v {
			refs(t, doc, inner)
		}
	case []any:
		for _, inner := range v {
			refs(t, doc, inner)
		}
	}
}

func TestOpenAPICoversTheTable(t *testing.T) {
	d, err := theDescription()
	if err != nil {
		t.Fatal(err)
	}
	described, known := queryParameters(), map[string]bool{}
	ids := map[string]bool{}
	for _, r := range Routes() {
		op := at(d.doc, "paths", openAPIPath(r.Path), strings.ToLower(r.Method))
		id, _ := at(op, "operationId").(string)
		if id == "" || ids[id] {
			t.Errorf("route %s is not described, or its operation %q stands twice", r.Name, id)
		}
		ids[id] = true
		if answeredBy()[r.Where] == "" {
			t.Errorf("route %s: say in answeredBy who answers %q", r.Name, r.Where)
		}
		if r.Request != nil && at(op, "requestBody", "content", "application/json", "schema") == nil {
			t.Errorf("route %s: its body is not described", r.Name)
		}
		for _, media := range r.Media {
			if at(op, "responses", "200", "content", media) == nil {
				t.Errorf("route %s: its answer as %s is not described", r.Name, media)
			}
		}
		for _, p := range r.parameters() {
			known[p] = true
			if described[p].doc == "" {
				t.Errorf("route %s: say in queryParameters what its parameter %s is", r.Name, p)
			}
		}
	}
	for p := range described {
		if !known[p] {
			t.Errorf("parameter %s is described and no route takes it", p)
		}
	}
	paths, _ := at(d.doc, "paths").(map[string]any)
	n := 0
	for _, ops := range paths {
		n += len(ops.(map[string]any))
	}
	if n != len(Routes()) {
		t.Errorf("%d operations are described, the table has %d routes", n, len(Routes()))
	}
}

// TestOpenAPIIsAlwaysTheSame: no order of a map may show, or its ETag would change from agent to agent.
func TestOpenAPIIsAlwaysTheSame(t *testing.T) {
	var first []byte
	for range 5 {
		data, err := json.Marshal(OpenAPI(Routes(), "1.2.3"))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !slices.Equal(first, data) {
			t.Fatal("two descriptions differ")
		}
		first = data
	}
}
