package jobspecs

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/drover-io/drover/internal/nearest"
)

// evaluator evaluates the expressions of one file and everything it refers to.
type evaluator struct {
	*collector
	meter     *meter
	base      *hcl.EvalContext // functions, var and local
	vars      map[string]cty.Value
	locals    map[string]cty.Value
	spentAt   bool                // exhaustion was reported
	warnedOf  map[string]bool     // unknown names that were warned of
	known     map[string][]string // the names of var and local
	bad       map[string]struct{} // "var.x", "local.x" whose value is in error
	lostInput bool                // a variable file could not be read
}

// runtimeRoots are the names whose values only the node knows. NOMAD_… and DROVER_… are such names too.
var runtimeRoots = regexp.MustCompile(`^(attr|node|meta|env|device|secret|NOMAD_\w+|DROVER_\w+)$`)

// shellName is a name that is more likely a variable of a shell than a mistake.
var shellName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// eval returns the value of expr. It is false when there is none; what is to be said of it has been said.
func (ev *evaluator) eval(expr hclsyntax.Expression, ctx *hcl.EvalContext) (cty.Value, bool) {
	at := expr.Range()
	traversals := references(expr)
	if !ev.meter.charge(step+at.End.Byte-at.Start.Byte) || ev.meter.exhausted {
		return ev.spent(at)
	}
	if !ev.checkNames(traversals) {
		return cty.NilVal, false
	}
	ctx, ok := ev.withRuntime(expr, traversals, ctx)
	if !ok {
		return cty.NilVal, false
	}
	v, diags := expr.Value(ctx)
	if ev.meter.exhausted || !ev.meter.value(v) {
		return ev.spent(at)
	}
	if diags.HasErrors() {
		ev.hcl(diags, at)
		return cty.NilVal, false
	}
	if v, _ = v.UnmarkDeep(); !v.IsWhollyKnown() {
		if !ev.hasErrors() {
			ev.errorf(at, "this value cannot be known while the file is read")
		}
		return cty.NilVal, false
	}
	return v, true
}

// spent says once that the work allowed is used up.
func (ev *evaluator) spent(at hcl.Range) (cty.Value, bool) {
	if !ev.spentAt {
		ev.spentAt = true
		ev.error(at, fmt.Sprintf("A value may have %d MiB, and all evaluation together may look at %d MiB.", MaxValue>>20, MaxWork>>20),
			"evaluating this takes too much; make lists, repetitions, strings or numbers smaller")
	}
	return cty.NilVal, false
}

// checkNames checks the names behind var and local.
func (ev *evaluator) checkNames(traversals []hcl.Traversal) bool {
	ok := true
	for _, t := range traversals {
		names, found := ev.known[t.RootName()]
		if !found {
			continue
		}
		root, at := t.RootName(), t.SourceRange()
		if len(t) < 2 {
			continue
		}
		name := stepName(t[1])
		if _, bad := ev.bad[root+"."+name]; bad {
			ok = false
		} else if !slices.Contains(names, name) {
			what := map[string]string{"var": "variable", "local": "local"}[root]
			ev.errorf(at, "there is no %s %q%s", what, name, didYouMean(name, names))
			ok = false
		}
	}
	return ok
}

// withRuntime returns ctx with a stand-in for every name that only the node knows: its own source text, "${attr.cpu.arch}".
func (ev *evaluator) withRuntime(expr hclsyntax.Expression, traversals []hcl.Traversal, ctx *hcl.EvalContext) (*hcl.EvalContext, bool) {
	stubs := map[string]*stub{}
	ok := true
	for _, t := range traversals {
		root := t.RootName()
		if hasRoot(ctx, root) {
			continue
		}
		at := t.SourceRange()
		if !ev.mayStandIn(expr, t, ctx) {
			ok = false
			continue
		}
		if stubs[root] == nil {
			stubs[root] = &stub{}
		}
		text := "${" + string(ev.files[at.Filename][at.Start.Byte:at.End.Byte]) + "}"
		if !stubs[root].put(t[1:], text) {
			ev.errorf(at, "%s is used here both as a value and as a group of values", text)
			ok = false
		}
	}
	if len(stubs) == 0 || !ok {
		return ctx, ok
	}
	child := ctx.NewChild()
	child.Variables = make(map[string]cty.Value, len(stubs))
	for root, s := range stubs {
		child.Variables[root] = s.value()
	}
	return child, true
}

// mayStandIn decides whether an unknown name is left for the node, and says so where it is not or where it looks like a mistake.
func (ev *evaluator) mayStandIn(expr hclsyntax.Expression, t hcl.Traversal, ctx *hcl.EvalContext) bool {
	root, at := t.RootName(), t.SourceRange()
	use := useOf(expr, at)
	runtime := runtimeRoots.MatchString(root)
	if !runtime {
		if near := nearest.Name(root, rootNames(ctx)); near != "" && (len(t) > 1 || use == bare) {
			ev.errorf(at, "there is nothing named %q; did you mean %q?", root, near)
			return false
		}
	}
	switch {
	case use == operand && runtime:
		ev.errorf(at, "%s is known only on the node, so nothing can be decided by it while the file is read", traversalText(t))
		return false
	case runtime:
	case use != text:
		ev.errorf(at, "there is nothing named %q; write it in quotes where text is meant", root)
		return false
	case len(t) > 1 || !shellName.MatchString(root):
		if !ev.warnedOf[root] {
			ev.warnedOf[root] = true
			ev.warnf(at, "nothing named %q is known; it is left as text", root)
		}
	}
	return true
}

// use is how an expression uses a name.
type use int

const (
	bare    use = iota // foo = name, [name], f(name)
	text               // "…${name}…"
	operand            // name == 1, name ? a : b, name[x], [for x in name : x]
)

// useOf finds how the traversal at a place is used within expr.
func useOf(expr hclsyntax.Expression, at hcl.Range) use {
	result := bare
	raise := func(u use, es ...hclsyntax.Expression) {
		for _, e := range es {
			if r := e.Range(); u > result && r.Start.Byte <= at.Start.Byte && at.End.Byte <= r.End.Byte {
				result = u
			}
		}
	}
	hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if w, ok := n.(*metered); ok {
			n = w.Expression
		}
		switch e := n.(type) {
		case *hclsyntax.TemplateExpr:
			raise(text, e.Parts...)
		case *hclsyntax.TemplateWrapExpr:
			raise(text, e.Wrapped)
		case *hclsyntax.BinaryOpExpr:
			raise(operand, e.LHS, e.RHS)
		case *hclsyntax.UnaryOpExpr:
			raise(operand, e.Val)
		case *hclsyntax.ConditionalExpr:
			raise(operand, e.Condition)
		case *hclsyntax.IndexExpr:
			raise(operand, e.Collection, e.Key)
		case *hclsyntax.ForExpr:
			raise(operand, e.CollExpr)
		case *hclsyntax.SplatExpr:
			raise(operand, e.Source)
		}
		return nil
	})
	return result
}

// stub stands in for a name that only the node knows: text, or an object of stubs.
type stub struct {
	text string
	kids map[string]*stub
}

func (s *stub) put(steps hcl.Traversal, text string) bool {
	for _, st := range steps {
		name := stepName(st)
		if s.text != "" || name == "" {
			return false
		}
		if s.kids == nil {
			s.kids = map[string]*stub{}
		}
		if s.kids[name] == nil {
			s.kids[name] = &stub{}
		}
		s = s.kids[name]
	}
	if s.kids != nil {
		return false
	}
	s.text = text
	return true
}

func (s *stub) value() cty.Value {
	if s.kids == nil {
		return cty.StringVal(s.text)
	}
	vals := make(map[string]cty.Value, len(s.kids))
	for k, kid := range s.kids {
		vals[k] = kid.value()
	}
	return cty.ObjectVal(vals)
}

// stepName returns the name of a step of a traversal: .name, ["name"] or [0]; "" for a splat.
func stepName(st hcl.Traverser) string {
	switch st := st.(type) {
	case hcl.TraverseAttr:
		return st.Name
	case hcl.TraverseIndex:
		if st.Key.Type() == cty.String {
			return st.Key.AsString()
		}
		if st.Key.Type() == cty.Number {
			return st.Key.AsBigFloat().Text('g', 10)
		}
	}
	return ""
}

func traversalText(t hcl.Traversal) string {
	s := t.RootName()
	for _, st := range t[1:] {
		s += "." + stepName(st)
	}
	return s
}

func hasRoot(ctx *hcl.EvalContext, root string) bool {
	for ; ctx != nil; ctx = ctx.Parent() {
		if _, ok := ctx.Variables[root]; ok {
			return true
		}
	}
	return false
}

func rootNames(ctx *hcl.EvalContext) []string {
	names := []string{"attr", "node", "meta"}
	for ; ctx != nil; ctx = ctx.Parent() {
		names = slices.AppendSeq(names, maps.Keys(ctx.Variables))
	}
	slices.Sort(names)
	return names
}

// plain turns a wholly known value into nil, bool, string, *big.Float, []any or map[string]any.
func plain(v cty.Value) (any, error) {
	ty := v.Type()
	switch {
	case v.IsNull():
		return nil, nil
	case ty == cty.String:
		return strings.Clone(v.AsString()), nil
	case ty == cty.Bool:
		return v.True(), nil
	case ty == cty.Number:
		return new(big.Float).Copy(v.AsBigFloat()), nil
	case ty.IsListType() || ty.IsSetType() || ty.IsTupleType():
		list := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			p, err := plain(e)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return list, nil
	case ty.IsMapType() || ty.IsObjectType():
		m := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			p, err := plain(e)
			if err != nil {
				return nil, err
			}
			m[k.AsString()] = p
		}
		return m, nil
	}
	return nil, fmt.Errorf("a %s cannot stand in a job", ty.FriendlyName())
}
