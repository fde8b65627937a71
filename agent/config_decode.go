package agent

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
)

// decoder lays files over a configuration and collects everything that is wrong with them.
type decoder struct {
	cfg      *Config
	problems []string
	warnings []string
	parser   *hclparse.Parser
}

// file decodes one file: JSON when it begins with a brace.
func (d *decoder) file(name string, data []byte) {
	if d.parser == nil {
		d.parser = hclparse.NewParser()
	}
	parse := d.parser.ParseHCL
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		parse = d.parser.ParseJSON
	}
	f, diags := parse(data, name)
	if diags.HasErrors() {
		// One mistake makes the parser stumble on: the first of a file is the one to read. Nothing of it is decoded.
		d.report(diags[:1])
		return
	}
	d.body(f.Body, "")
}

// body decodes the contents of the block at path; "" is the file.
func (d *decoder) body(body hcl.Body, path string) {
	content, diags := body.Content(schemaOf(path))
	d.report(diags)
	if content == nil {
		return
	}
	seen := map[string]bool{} // JSON gives what may be attribute or block as both
	for _, name := range slices.Sorted(attributeNames(content.Attributes)) {
		attr := content.Attributes[name]
		seen[name] = true
		if d.foreign(join(path, name), attr.NameRange) {
			continue
		}
		v, diags := attr.Expr.Value(nil)
		if diags.HasErrors() {
			d.report(diags[:1])
			continue
		}
		d.set(join(path, name), v, attr.Expr.Range())
	}
	for _, block := range content.Blocks {
		inner := join(path, block.Type)
		switch {
		case seen[block.Type] || d.foreign(inner, block.DefRange):
		case labelledBlocks()[inner] != nil:
			labelledBlocks()[inner](d, block)
		case isMap(inner):
			d.mapBlock(block.Body, inner)
		default:
			d.body(block.Body, inner)
		}
	}
}

// mapBlock decodes a map that is written as a block.
func (d *decoder) mapBlock(body hcl.Body, path string) {
	attrs, diags := body.JustAttributes()
	d.report(diags)
	for _, name := range slices.Sorted(attributeNames(attrs)) {
		v, diags := attrs[name].Expr.Value(nil)
		if diags.HasErrors() {
			d.report(diags[:1])
			continue
		}
		d.set(path, cty.ObjectVal(map[string]cty.Value{name: v}), attrs[name].Expr.Range())
	}
}

func attributeNames(attrs hcl.Attributes) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range attrs {
			if !yield(name) {
				return
			}
		}
	}
}

func (d *decoder) set(path string, v cty.Value, at hcl.Range) {
	for _, k := range ConfigKeys() {
		if k.Path == path {
			if err := k.set(d.cfg, v, place(at)); err != nil {
				d.problem(at, "%s %v", k.name(), err)
			}
		}
	}
}

// foreign reports whether Nomad has this and Drover has not, and says so.
func (d *decoder) foreign(path string, at hcl.Range) bool {
	for _, f := range foreignKeys() {
		if f.path != path {
			continue
		}
		if f.harmless {
			d.warnings = append(d.warnings, fmt.Sprintf("%s: %s is ignored: %s", place(at), f.path, f.why))
		} else {
			d.problem(at, "%s is not supported: %s", f.path, f.why)
		}
		return true
	}
	return false
}

// schemaOf is what the block at path may hold: the keys of the table, and the names that get a message of their own.
func schemaOf(path string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	attribute := func(name string) {
		if !slices.ContainsFunc(s.Attributes, func(a hcl.AttributeSchema) bool { return a.Name == name }) {
			s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: name})
		}
	}
	block := func(name string, labels []string) {
		if !slices.ContainsFunc(s.Blocks, func(b hcl.BlockHeaderSchema) bool { return b.Type == name }) {
			s.Blocks = append(s.Blocks, hcl.BlockHeaderSchema{Type: name, LabelNames: labels})
		}
	}
	for _, inner := range slices.Sorted(maps.Keys(labelledBlocks())) {
		if rest, below := under(inner, path); below && !strings.Contains(rest, ".") {
			block(rest, []string{"name"})
		}
	}
	for _, k := range ConfigKeys() {
		switch rest, below := under(k.Path, path); {
		case !below:
		case strings.Contains(rest, "."):
			block(rest[:strings.IndexByte(rest, '.')], nil)
		default:
			attribute(rest)
			if isMap(k.Path) {
				block(rest, nil)
			}
		}
	}
	for _, f := range foreignKeys() {
		if rest, below := under(f.path, path); below && !strings.Contains(rest, ".") {
			attribute(rest)
			block(rest, f.labels)
		}
	}
	return s
}

// under is the part of path below parent.
func under(path, parent string) (string, bool) {
	if parent == "" {
		return path, true
	}
	return strings.CutPrefix(path, parent+".")
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func isMap(path string) bool {
	return slices.ContainsFunc(ConfigKeys(), func(k ConfigKey) bool {
		_, ok := k.field(&Config{}).(*map[string]string)
		return ok && k.Path == path
	})
}
