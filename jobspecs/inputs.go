package jobspecs

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// given is a value of a variable from outside.
type given struct {
	at   hcl.Range
	text string               // on the command line or in the environment
	expr hclsyntax.Expression // in a variable file in HCL
	json *jsonValue           // in a variable file in JSON
}

// cutVar splits name=value.
func cutVar(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, "=")
	return strings.TrimSpace(name), value, ok
}

// inputs collects what is given for each variable; the strongest source wins.
func (ev *evaluator) inputs(declared map[string]*declaration, in Inputs) map[string]*given {
	got := map[string]*given{}
	for _, prefix := range []string{"NOMAD_VAR_", "DROVER_VAR_"} {
		for _, kv := range in.Env {
			key, value, _ := strings.Cut(kv, "=")
			if name, ok := strings.CutPrefix(key, prefix); ok && declared[name] != nil {
				got[name] = ev.fromText(key, value, 0)
			}
		}
	}
	for _, f := range in.VarFiles {
		ev.varFile(f, declared, in.Strict, got)
	}
	for _, kv := range in.Vars {
		name, value, ok := cutVar(kv)
		file := "-var " + name
		g := ev.fromText(file, kv, len(kv)-len(value))
		switch {
		case !ok || name == "":
			ev.files["-var"] = []byte(kv)
			g.at.Filename, g.at.Start.Byte = "-var", 0
			ev.errorf(g.at, "%q is not name=value", cut(kv))
		case declared[name] != nil:
			g.text = value
			got[name] = g
		case in.Strict: // the name is meant, not the value
			g.at.Start.Byte = strings.Index(kv, name)
			g.at.End.Byte = g.at.Start.Byte + len(name)
			ev.errorf(g.at, "the file declares no variable %q%s", name, didYouMean(name, slices.Sorted(maps.Keys(declared))))
		}
	}
	return got
}

// fromText registers text of the command line or the environment as a file, so that diagnostics can point into it.
func (ev *evaluator) fromText(file, text string, from int) *given {
	ev.files[file] = []byte(text)
	return &given{at: hcl.Range{Filename: file, Start: hcl.Pos{Byte: from}, End: hcl.Pos{Byte: len(text)}}, text: text}
}

// varFile reads a file of name = value.
func (ev *evaluator) varFile(f Source, declared map[string]*declaration, strict bool, got map[string]*given) {
	take := func(name string, at hcl.Range, g *given) {
		if declared[name] != nil {
			got[name] = g
		} else if strict {
			ev.errorf(at, "the job file declares no variable %q%s", name, didYouMean(name, slices.Sorted(maps.Keys(declared))))
		}
	}
	if strings.HasPrefix(strings.TrimLeft(string(f.Data), " \t\r\n"), "{") {
		v := ev.parseJSONText(f.Name, f.Data)
		if v == nil {
			ev.lostInput = true
			return
		}
		for _, m := range v.members {
			take(m.name, m.nameAt.in(f.Name), &given{at: m.value.at.in(f.Name), json: m.value})
		}
		return
	}
	body := ev.syntax(f)
	if body == nil {
		ev.lostInput = true
		return
	}
	ev.meter.watch(body)
	for _, b := range body.Blocks {
		ev.lostInput = true
		ev.errorf(b.TypeRange, "a variable file holds names and values only, not blocks; write %s = …", b.Type)
	}
	for _, a := range sortedAttributes(body) {
		take(a.Name, a.NameRange, &given{at: a.Expr.Range(), expr: a.Expr})
	}
}

// given evaluates a value from outside. Text is taken as it is where the variable is a string or has no type; otherwise it is an
// expression, so that lists and maps can be given too.
func (ev *evaluator) given(d *declaration, g *given) (cty.Value, bool) {
	switch {
	case g.expr != nil:
		return ev.literal(g.expr)
	case g.json != nil:
		return fromPlain(g.json.value()), true
	case d.ty.IsPrimitiveType() || d.ty == cty.DynamicPseudoType && d.fallback == nil:
		return cty.StringVal(strings.ToValidUTF8(g.text, "�")), true
	}
	name := g.at.Filename
	start := hcl.Pos{Line: 1, Column: g.at.Start.Byte + 1, Byte: g.at.Start.Byte}
	tokens, _ := hclsyntax.LexExpression([]byte(g.text), name, start)
	at, message := checkHCL(tokens)
	if len(g.text) > MaxSource {
		at, message = g.at, fmt.Sprintf("the value has more than %d bytes", MaxSource)
	}
	if message != "" {
		ev.errorf(at, "%s", message)
		return cty.NilVal, false
	}
	expr, diags := hclsyntax.ParseExpression([]byte(g.text), name, start)
	if diags.HasErrors() {
		ev.hcl(diags, g.at)
		return cty.NilVal, false
	}
	ev.meter.watch(expr)
	return ev.literal(expr)
}

// fromPlain turns a JSON value into one of the expression language.
func fromPlain(v any) cty.Value {
	switch v := v.(type) {
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case *big.Float:
		return cty.NumberVal(v)
	case []any:
		list := make([]cty.Value, len(v))
		for i, e := range v {
			list[i] = fromPlain(e)
		}
		return cty.TupleVal(list)
	case map[string]any:
		m := make(map[string]cty.Value, len(v))
		for k, e := range v {
			m[k] = fromPlain(e)
		}
		return cty.ObjectVal(m)
	}
	return cty.NullVal(cty.DynamicPseudoType)
}
