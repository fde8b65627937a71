package jobspecs

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// declaration is a variable as the file declares it.
type declaration struct {
	name      string
	at        hcl.Range
	ty        cty.Type           // cty.DynamicPseudoType until a default says more
	defaults  *typeexpr.Defaults // of optional attributes
	fallback  hclsyntax.Expression
	sensitive bool
	rules     []rule
}

// rule is one validation block.
type rule struct {
	at                 hcl.Range
	condition, message hclsyntax.Expression
}

// declaration reads one variable block.
func (c *collector) declaration(b *hclsyntax.Block) (declaration, bool) {
	d := declaration{at: b.DefRange(), ty: cty.DynamicPseudoType}
	if len(b.Labels) != 1 || !hclsyntax.ValidIdentifier(b.Labels[0]) {
		c.errorf(b.DefRange(), `variable needs one label, a name of letters, digits, "-" and "_": variable "name" { … }`)
		return d, false
	}
	d.name = b.Labels[0]
	s := rootSchema().blocks["variable"]
	for _, a := range sortedAttributes(b.Body) {
		switch a.Name {
		case "type":
			var diags hcl.Diagnostics
			if d.ty, d.defaults, diags = typeexpr.TypeConstraintWithDefaults(a.Expr); diags.HasErrors() {
				c.hcl(diags, a.Expr.Range())
				d.ty = cty.DynamicPseudoType
			}
		case "default":
			d.fallback = a.Expr
		case "sensitive":
			d.sensitive = c.trueOrFalse(a)
		case "description":
		default:
			c.errorf(a.NameRange, "unknown name %q in variable %q%s", a.Name, d.name, didYouMean(a.Name, s.names()))
		}
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type != "validation" || len(inner.Labels) > 0 {
			c.errorf(inner.TypeRange, "unknown block %q in variable %q; it may have validation { … }", inner.Type, d.name)
			continue
		}
		if r, ok := c.rule(inner); ok {
			d.rules = append(d.rules, r)
		}
	}
	return d, true
}

// trueOrFalse reads an attribute that must be written out.
func (c *collector) trueOrFalse(a *hclsyntax.Attribute) bool {
	v, _ := a.Expr.Value(nil)
	if v.Type() != cty.Bool || !v.IsKnown() || v.IsNull() {
		c.errorf(a.Expr.Range(), "%s must be true or false", a.Name)
		return false
	}
	return v.True()
}

func (c *collector) rule(b *hclsyntax.Block) (rule, bool) {
	r := rule{at: b.DefRange()}
	for _, a := range c.onlyAttributes(b) {
		switch a.Name {
		case "condition":
			r.condition = a.Expr
		case "error_message":
			r.message = a.Expr
		default:
			c.errorf(a.NameRange, "unknown name %q in validation%s", a.Name, didYouMean(a.Name, []string{"condition", "error_message"}))
		}
	}
	if r.condition == nil || r.message == nil {
		c.errorf(r.at, "validation needs condition = … and error_message = …")
		return r, false
	}
	return r, true
}

// shortDeclarations reads variables { name = default }.
func (c *collector) shortDeclarations(b *hclsyntax.Block) []declaration {
	var ds []declaration
	for _, a := range c.onlyAttributes(b) {
		ds = append(ds, declaration{name: a.Name, at: a.SrcRange, ty: cty.DynamicPseudoType, fallback: a.Expr})
	}
	return ds
}

// variables gives every declared variable its value and puts them into the context.
func (ev *evaluator) variables(ds []declaration, in Inputs) {
	ev.vars = map[string]cty.Value{}
	if len(ds) > MaxNames {
		ev.errorf(ds[MaxNames].at, "the file declares more than %d variables", MaxNames)
		ds = ds[:MaxNames]
	}
	byName := map[string]*declaration{}
	for i := range ds {
		d := &ds[i]
		if first := byName[d.name]; first != nil {
			ev.errorf(d.at, "variable %q is declared twice; the first is on line %d", d.name, first.at.Start.Line)
			continue
		}
		byName[d.name] = d
		ev.known["var"] = append(ev.known["var"], d.name)
	}
	if ev.known["var"] == nil {
		ev.known["var"] = []string{}
	}
	given := ev.inputs(byName, in)
	for _, name := range ev.known["var"] {
		v, ok := ev.variable(byName[name], given[name])
		if !ok {
			v = cty.DynamicVal
			ev.bad["var."+name] = struct{}{}
		}
		ev.vars[name] = v
	}
	ev.base.Variables = map[string]cty.Value{"var": cty.ObjectVal(ev.vars)}
	for _, name := range ev.known["var"] {
		if _, bad := ev.bad["var."+name]; !bad && !ev.rules(byName[name], given[name]) {
			ev.bad["var."+name] = struct{}{}
		}
	}
}

// variable returns the value of one variable: what was given, or the default, in the declared type.
func (ev *evaluator) variable(d *declaration, g *given) (cty.Value, bool) {
	fallback := cty.NilVal
	if d.fallback != nil {
		v, ok := ev.literal(d.fallback)
		if !ok {
			return v, false
		}
		if fallback, ok = ev.convert(d, v, d.fallback.Range(), "the default of "); !ok {
			return v, false
		}
		if d.ty == cty.DynamicPseudoType && !v.IsNull() {
			d.ty = inferred(v.Type())
		}
	}
	if g == nil {
		if d.fallback == nil && ev.lostInput {
			return cty.NilVal, false // it may be in the file that could not be read
		}
		if d.fallback == nil {
			ev.error(d.at, "Give it with -var "+d.name+"=…, in a -var-file, as the environment variable DROVER_VAR_"+d.name+
				", or with a default.", "variable %q has no value", d.name)
			return cty.NilVal, false
		}
		return fallback, true
	}
	if d.sensitive {
		ev.secrets = append(ev.secrets, g.at)
	}
	v, ok := ev.given(d, g)
	if !ok {
		return v, false
	}
	return ev.convert(d, v, g.at, "")
}

// inferred is the type of a variable that has none but a default: that of a plain default, anything for lists and maps.
func inferred(ty cty.Type) cty.Type {
	if ty.IsPrimitiveType() {
		return ty
	}
	return cty.DynamicPseudoType
}

// literal evaluates an expression that may use functions but no names.
func (ev *evaluator) literal(expr hclsyntax.Expression) (cty.Value, bool) {
	for _, t := range references(expr) {
		ev.errorf(t.SourceRange(), "a variable's value may not refer to anything; use locals for that")
		return cty.NilVal, false
	}
	return ev.eval(expr, &hcl.EvalContext{Functions: ev.base.Functions})
}

func (ev *evaluator) convert(d *declaration, v cty.Value, at hcl.Range, what string) (cty.Value, bool) {
	if d.defaults != nil && !v.IsNull() {
		v = d.defaults.Apply(v)
	}
	got, err := convert.Convert(v, d.ty)
	if err != nil {
		ev.errorf(at, "%svariable %q is not of its type %s: %v", what, d.name, typeexpr.TypeString(d.ty), err)
		return cty.NilVal, false
	}
	return got, true
}

// rules checks the validation blocks of a variable against its value.
func (ev *evaluator) rules(d *declaration, g *given) bool {
	for _, r := range d.rules {
		v, ok := ev.eval(r.condition, ev.base)
		if !ok {
			return false
		}
		if v, err := convert.Convert(v, cty.Bool); err != nil || v.IsNull() {
			ev.errorf(r.condition.Range(), "a condition must be true or false")
			return false
		} else if v.True() {
			continue
		}
		at := d.at
		if g != nil {
			at = g.at
		} else if d.fallback != nil {
			at = d.fallback.Range()
		}
		text := "the value is not valid"
		if m, ok := ev.eval(r.message, ev.base); ok && m.Type() == cty.String && !m.IsNull() {
			text = m.AsString()
		}
		ev.errorf(at, "variable %q: %s", d.name, text)
		return false
	}
	return true
}
