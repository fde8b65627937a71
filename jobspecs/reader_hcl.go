package jobspecs

import (
	"cmp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// hclReader reads the job block of a file into nodes.
type hclReader struct {
	*evaluator
	blocks int // made so far
}

// block reads one block.
func (r *hclReader) block(s *schema, label string, at hcl.Range, body *hclsyntax.Body, ctx *hcl.EvalContext) *node {
	n := newNode(s, label, at)
	for _, a := range sortedAttributes(body) {
		r.attribute(n, a, ctx)
	}
	for _, b := range body.Blocks {
		r.expand(b, ctx, func(b *hclsyntax.Block, ctx *hcl.EvalContext) { r.child(n, b, ctx) })
	}
	return n
}

func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	attrs := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		attrs = append(attrs, a)
	}
	slices.SortFunc(attrs, func(a, b *hclsyntax.Attribute) int { return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte) })
	return attrs
}

func (r *hclReader) attribute(n *node, a *hclsyntax.Attribute, ctx *hcl.EvalContext) {
	f := n.schema.attrs[a.Name]
	switch {
	case f == nil && n.blocks[a.Name] != nil:
		r.errorf(a.NameRange, "%s is a block; write %s { … } without an equals sign", a.Name, a.Name)
	case f == nil || f.JSONOnly():
		r.errorf(a.NameRange, "unknown name %q in %s%s", a.Name, n.title(), n.hint(a.Name))
	case r.unsupported(f, a.NameRange):
	default:
		r.set(n, f, a.Expr, ctx)
	}
}

// set evaluates an attribute. Null is the same as leaving it out.
func (r *hclReader) set(n *node, f *Field, expr hclsyntax.Expression, ctx *hcl.EvalContext) {
	at := expr.Range()
	n.attrs.set(f.Name(), attr{at: at, bad: true})
	v, ok := r.eval(expr, ctx)
	if !ok {
		return
	}
	p, err := plain(v)
	if p == nil && err == nil {
		n.attrs.remove(f.Name())
		return
	}
	if err == nil {
		p, err = f.convert(p)
	}
	if err != nil {
		r.errorf(at, "%s %v", f.Name(), err)
		return
	}
	n.attrs.set(f.Name(), attr{value: p, at: at})
}

// child reads one block within n.
func (r *hclReader) child(n *node, b *hclsyntax.Block, ctx *hcl.EvalContext) {
	if r.blocks++; r.blocks > MaxBlocks {
		if r.blocks == MaxBlocks+1 {
			r.errorf(b.TypeRange, "the job has more than %d blocks", MaxBlocks)
		}
		return
	}
	at := b.DefRange()
	s, f := n.blocks[b.Type], n.schema.attrs[b.Type]
	switch {
	case s != nil:
		if r.unsupported(&s.Field, at) {
			return
		}
		if label, ok := r.label(s, b); ok {
			r.adopt(n, r.block(s, label, at, b.Body, ctx))
		}
	case f == nil || f.JSONOnly():
		r.errorf(b.TypeRange, "unknown block %q in %s%s", b.Type, n.title(), n.hint(b.Type))
	case r.unsupported(f, at):
	case f.Type != TypeMap && f.Type != TypeFree:
		r.errorf(b.TypeRange, "%s is an attribute; write %s = …", b.Type, b.Type)
	case len(b.Labels) > 0:
		r.errorf(b.LabelRanges[0], "%s takes no label", b.Type)
	case n.has(b.Type):
		r.errorf(at, "%s may be written only once in %s", b.Type, n.title())
	default:
		r.mapBlock(n, f, b, ctx)
	}
}

// label checks the labels of a block against its schema.
func (r *hclReader) label(s *schema, b *hclsyntax.Block) (string, bool) {
	switch {
	case s.Type != TypeLabelled && len(b.Labels) > 0:
		r.errorf(b.LabelRanges[0], "%s takes no label", b.Type)
	case s.Type == TypeLabelled && len(b.Labels) == 0:
		r.errorf(b.TypeRange, "%s needs a label: %s \"name\" { … }", b.Type, b.Type)
	case s.Type == TypeLabelled && len(b.Labels) > 1:
		r.errorf(b.LabelRanges[1], "%s takes one label only", b.Type)
	case s.Type == TypeLabelled && b.Labels[0] == "":
		r.errorf(b.LabelRanges[0], "the label of %s may not be empty", b.Type)
	case s.Type == TypeLabelled:
		return b.Labels[0], true
	default:
		return "", true
	}
	return "", false
}

// mapBlock reads env, meta and config written as a block.
func (r *hclReader) mapBlock(n *node, f *Field, b *hclsyntax.Block, ctx *hcl.EvalContext) {
	at := b.DefRange()
	m, ok := r.free(f, b.Body, ctx)
	keys := map[string]hcl.Range{}
	for name, a := range b.Body.Attributes {
		keys[name] = a.Expr.Range()
	}
	n.attrs.set(f.Name(), attr{value: m, at: at, bad: !ok, keys: keys})
}

// free reads a body without a schema: attributes, and nested blocks as lists of maps. In a map of strings there are no blocks.
func (r *hclReader) free(f *Field, body *hclsyntax.Body, ctx *hcl.EvalContext) (map[string]any, bool) {
	m, ok := map[string]any{}, true
	for _, a := range sortedAttributes(body) {
		v, evaluated := r.eval(a.Expr, ctx)
		if !evaluated {
			ok = false
			continue
		}
		p, err := plain(v)
		if p == nil && err == nil { // null is the same as leaving it out
			continue
		}
		if err == nil && f.Type == TypeMap {
			p, err = toString(p)
		} else if err == nil {
			p, err = toJSON(p)
		}
		if err != nil {
			r.errorf(a.Expr.Range(), "%s %v", a.Name, err)
			ok = false
		}
		m[a.Name] = p
	}
	for _, b := range body.Blocks {
		r.expand(b, ctx, func(b *hclsyntax.Block, ctx *hcl.EvalContext) { ok = r.freeBlock(f, m, body, b, ctx) && ok })
	}
	return m, ok
}

func (r *hclReader) freeBlock(f *Field, m map[string]any, body *hclsyntax.Body, b *hclsyntax.Block, ctx *hcl.EvalContext) bool {
	if r.blocks++; r.blocks > MaxBlocks {
		if r.blocks == MaxBlocks+1 {
			r.errorf(b.TypeRange, "the job has more than %d blocks", MaxBlocks)
		}
		return false
	}
	if f.Type == TypeMap {
		r.errorf(b.TypeRange, "%s holds names and strings only, not blocks; write %s = …", f.Name(), b.Type)
		return false
	}
	if a := body.Attributes[b.Type]; a != nil {
		r.errorf(b.TypeRange, "%s is an attribute on line %d already", b.Type, a.NameRange.Start.Line)
		return false
	}
	inner, ok := r.free(f, b.Body, ctx)
	var v any = inner
	for _, l := range slices.Backward(b.Labels) { // mount "x" { … } is mount = [{x = [{…}]}]
		v = map[string]any{l: []any{v}}
	}
	list, _ := m[b.Type].([]any)
	m[b.Type] = append(list, v)
	return ok
}

// expand calls use with b, or, when b is a dynamic block, with each block that it makes.
func (r *hclReader) expand(b *hclsyntax.Block, ctx *hcl.EvalContext, use func(*hclsyntax.Block, *hcl.EvalContext)) {
	if b.Type != "dynamic" {
		use(b, ctx)
		return
	}
	d, ok := r.dynamic(b)
	if !ok {
		return
	}
	items, ok := r.eval(d.forEach, ctx)
	if !ok || !r.iterable(items, d.forEach.Range()) {
		return
	}
	for it := items.ElementIterator(); it.Next() && r.blocks <= MaxBlocks && !r.meter.exhausted; {
		k, v := it.Element()
		if items.Type().IsSetType() {
			k = v
		}
		inner := ctx.NewChild()
		inner.Variables = map[string]cty.Value{d.iterator: cty.ObjectVal(map[string]cty.Value{"key": k, "value": v})}
		made := *d.content
		made.Type, made.TypeRange = b.Labels[0], b.LabelRanges[0]
		if made.Labels, made.LabelRanges, ok = r.dynamicLabels(d, inner); ok {
			use(&made, inner)
		}
	}
}

func (r *hclReader) iterable(v cty.Value, at hcl.Range) bool {
	if v.IsNull() || !v.CanIterateElements() {
		r.errorf(at, "for_each must be a list, a set or a map")
		return false
	}
	if n := v.LengthInt(); n > MaxDynamic {
		r.errorf(at, "for_each has %d elements; a dynamic block may make at most %d blocks", n, MaxDynamic)
		return false
	}
	return true
}

// dynamicBlock is a dynamic block taken apart.
type dynamicBlock struct {
	forEach, labels hclsyntax.Expression
	iterator        string
	content         *hclsyntax.Block
}

func (r *hclReader) dynamic(b *hclsyntax.Block) (d dynamicBlock, ok bool) {
	if len(b.Labels) != 1 {
		r.errorf(b.TypeRange, `dynamic needs the kind of block that it makes: dynamic "port" { … }`)
		return d, false
	}
	d.iterator = b.Labels[0]
	for _, a := range sortedAttributes(b.Body) {
		switch a.Name {
		case "for_each":
			d.forEach = a.Expr
		case "labels":
			d.labels = a.Expr
		case "iterator":
			if d.iterator = hcl.ExprAsKeyword(a.Expr); d.iterator == "" {
				r.errorf(a.Expr.Range(), "iterator must be a name without quotes")
				return d, false
			}
		default:
			r.errorf(a.NameRange, "unknown name %q in dynamic; the block's own attributes go into content { … }", a.Name)
			return d, false
		}
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type != "content" || len(inner.Labels) > 0 || d.content != nil {
			r.errorf(inner.TypeRange, "dynamic takes one block named content, without a label")
			return d, false
		}
		d.content = inner
	}
	if d.forEach == nil || d.content == nil {
		r.errorf(b.DefRange(), "dynamic needs for_each = … and content { … }")
		return d, false
	}
	return d, true
}

func (r *hclReader) dynamicLabels(d dynamicBlock, ctx *hcl.EvalContext) (labels []string, ranges []hcl.Range, ok bool) {
	if d.labels == nil {
		return nil, nil, true
	}
	v, ok := r.eval(d.labels, ctx)
	if !ok {
		return nil, nil, false
	}
	p, err := plain(v)
	if err == nil {
		p, err = toList(p)
	}
	if err != nil {
		r.errorf(d.labels.Range(), "labels %v", err)
		return nil, nil, false
	}
	for _, l := range p.([]any) {
		labels = append(labels, l.(string))
		ranges = append(ranges, d.labels.Range())
	}
	return labels, ranges, true
}
