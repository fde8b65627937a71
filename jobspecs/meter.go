package jobspecs

import (
	"math/big"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// meter bounds what evaluation may do: a short file can ask for exponential work (locals that double, nested for expressions,
// numbers such as 1e999999999 turned into text). It is not a clock, so that the same file always meets the same end.
type meter struct {
	left      int
	exhausted bool
}

// step is what any evaluation costs, whatever its value.
const step = 128

// charge takes n from what is left and reports whether there was enough.
func (m *meter) charge(n int) bool {
	if m.left -= n; m.left < 0 {
		m.left, m.exhausted = 0, true
	}
	return !m.exhausted
}

// value charges for looking at v. It is false when v is too large or nothing is left.
func (m *meter) value(v cty.Value) bool {
	n := sizeOf(v, MaxValue)
	if n > MaxValue {
		m.exhausted = true
		return false
	}
	return m.charge(step + n)
}

// metered is an expression whose evaluations are charged. It stands in the syntax tree in place of the expression it holds.
type metered struct {
	hclsyntax.Expression
	m *meter
}

// Value evaluates the expression unless the meter is exhausted. The error is said once, by whoever evaluates the attribute.
func (e *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if e.m.exhausted {
		return cty.DynamicVal, nil
	}
	v, diags := e.Expression.Value(ctx)
	if !e.m.value(v) {
		return cty.DynamicVal, nil
	}
	return v, diags
}

// UnwrapExpression lets the HCL library find keywords, calls and traversals beneath the meter.
func (e *metered) UnwrapExpression() hcl.Expression { return e.Expression }

// watch puts meters on every expression below n whose value another one uses.
func (m *meter) watch(n hclsyntax.Node) {
	hclsyntax.VisitAll(n, func(n hclsyntax.Node) hcl.Diagnostics {
		if w, ok := n.(*metered); ok {
			n = w.Expression
		}
		m.watchOperators(n)
		m.watchCollections(n)
		return nil
	})
}

func (m *meter) wrap(e *hclsyntax.Expression) {
	if *e == nil {
		return
	}
	if l, ok := (*e).(*hclsyntax.LiteralValueExpr); ok && l.Val.Type() != cty.Number {
		return // bounded by the source; the parser looks for these by type
	}
	if _, ok := (*e).(*metered); !ok {
		*e = &metered{Expression: *e, m: m}
	}
}

func (m *meter) wrapAll(es []hclsyntax.Expression) {
	for i := range es {
		m.wrap(&es[i])
	}
}

func (m *meter) watchOperators(n hclsyntax.Node) {
	switch e := n.(type) {
	case *hclsyntax.FunctionCallExpr:
		m.wrapAll(e.Args)
	case *hclsyntax.TemplateExpr:
		m.wrapAll(e.Parts)
	case *hclsyntax.TemplateWrapExpr:
		m.wrap(&e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		m.wrap(&e.Tuple)
	case *hclsyntax.BinaryOpExpr:
		if e.Op == hclsyntax.OpModulo { // "1e999999999" % 7 would take gigabytes
			e.Op = &hclsyntax.Operation{Impl: guarded(e.Op.Impl, nil), Type: e.Op.Type}
		}
		m.wrap(&e.LHS)
		m.wrap(&e.RHS)
	case *hclsyntax.UnaryOpExpr:
		m.wrap(&e.Val)
	case *hclsyntax.ConditionalExpr:
		m.wrap(&e.Condition)
		m.wrap(&e.TrueResult)
		m.wrap(&e.FalseResult)
	}
}

func (m *meter) watchCollections(n hclsyntax.Node) {
	switch e := n.(type) {
	case *hclsyntax.ForExpr:
		for _, x := range []*hclsyntax.Expression{&e.CollExpr, &e.KeyExpr, &e.ValExpr, &e.CondExpr} {
			m.wrap(x)
		}
	case *hclsyntax.IndexExpr:
		m.wrap(&e.Collection)
		m.wrap(&e.Key)
	case *hclsyntax.SplatExpr:
		m.wrap(&e.Source)
	case *hclsyntax.RelativeTraversalExpr:
		m.wrap(&e.Source)
	case *hclsyntax.ObjectConsKeyExpr:
		if _, bare := e.Wrapped.(*hclsyntax.ScopeTraversalExpr); !bare || e.ForceNonLiteral {
			m.wrap(&e.Wrapped)
		}
	case *hclsyntax.ObjectConsExpr:
		for i := range e.Items {
			m.wrap(&e.Items[i].ValueExpr)
		}
	case *hclsyntax.TupleConsExpr:
		m.wrapAll(e.Exprs)
	}
}

// sizeOf estimates the bytes of v written as text. It stops as soon as the size is over limit, because a value that shares its
// parts can be exponentially larger than the memory it takes.
func sizeOf(v cty.Value, limit int) int {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return 8
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		return len(v.AsString())
	case ty == cty.Number:
		return numberSize(v.AsBigFloat())
	case !ty.IsCollectionType() && !ty.IsTupleType() && !ty.IsObjectType():
		return 8
	}
	n := 8
	for it := v.ElementIterator(); it.Next(); {
		key, val := it.Element()
		if key.Type() == cty.String {
			n += len(key.AsString())
		}
		if n += 8 + sizeOf(val, limit-n); n > limit {
			return n
		}
	}
	return n
}

// numberSize is how many digits n has when it is written without an exponent; too many for anything where it is infinite.
func numberSize(n *big.Float) int {
	if n.IsInf() {
		return MaxValue + 1
	}
	return 8 + abs(n.MantExp(nil))/3
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
