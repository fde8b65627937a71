package jobspecs

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// localValues evaluates the locals, each after those that it refers to, and puts them into the context.
func (ev *evaluator) localValues(attrs []*hclsyntax.Attribute) {
	ev.locals = map[string]cty.Value{}
	ev.known["local"] = []string{}
	if len(attrs) > MaxNames {
		ev.errorf(attrs[MaxNames].NameRange, "the file has more than %d locals", MaxNames)
		attrs = attrs[:MaxNames]
	}
	byName := map[string]*hclsyntax.Attribute{}
	for _, a := range attrs {
		if first := byName[a.Name]; first != nil {
			ev.errorf(a.NameRange, "local %q is there twice; the first is on line %d", a.Name, first.NameRange.Start.Line)
			continue
		}
		byName[a.Name] = a
		ev.known["local"] = append(ev.known["local"], a.Name)
	}
	for _, name := range ev.known["local"] {
		ev.local(name, byName, nil)
	}
	ev.base.Variables["local"] = cty.ObjectVal(ev.locals)
}

// local evaluates one local. The path is the names that led to it; a name that is on it already refers to itself.
func (ev *evaluator) local(name string, byName map[string]*hclsyntax.Attribute, path []string) {
	a := byName[name]
	if _, done := ev.locals[name]; done || a == nil {
		return
	}
	for i, p := range path {
		if p == name {
			ev.errorf(a.NameRange, "local %q refers to itself: %s", name, strings.Join(append(path[i:], name), " → "))
			ev.failLocal(name)
			return
		}
	}
	vals := map[string]cty.Value{}
	for _, t := range references(a.Expr) {
		if t.RootName() != "local" {
			continue
		}
		if len(t) < 2 {
			ev.errorf(t.SourceRange(), "write local.NAME")
			ev.failLocal(name)
			return
		}
		other := stepName(t[1])
		ev.local(other, byName, append(path, name))
		if v, ok := ev.locals[other]; ok {
			vals[other] = v
		}
	}
	if _, done := ev.locals[name]; done { // found to refer to itself
		return
	}
	ctx := ev.base.NewChild()
	ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(vals)}
	v, ok := ev.eval(a.Expr, ctx)
	if !ok {
		ev.failLocal(name)
		return
	}
	ev.locals[name] = v
}

// failLocal remembers that a local has no value, so that nothing is said of those that use it.
func (ev *evaluator) failLocal(name string) {
	ev.locals[name] = cty.DynamicVal
	ev.bad["local."+name] = struct{}{}
}
