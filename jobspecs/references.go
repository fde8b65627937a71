package jobspecs

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// references returns the names that an expression takes from outside, in order. The library's own Variables does not look beneath
// a meter, and takes the type in convert(x, list(string)) for a name.
func references(expr hclsyntax.Expression) []hcl.Traversal {
	var w referenceWalker
	hclsyntax.Walk(expr, &w)
	return w.found
}

type referenceWalker struct {
	found  []hcl.Traversal
	scopes []map[string]struct{} // names that for expressions made
	types  []hcl.Range           // arguments that are types
}

// Enter implements hclsyntax.Walker.
func (w *referenceWalker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if m, ok := n.(*metered); ok {
		n = m.Expression
	}
	switch e := n.(type) {
	case hclsyntax.ChildScope:
		w.scopes = append(w.scopes, e.LocalNames)
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "convert" && len(e.Args) == 2 {
			w.types = append(w.types, e.Args[1].Range())
		}
	case *hclsyntax.ScopeTraversalExpr:
		if !w.local(e.Traversal.RootName()) && !w.inType(e.SrcRange) {
			w.found = append(w.found, e.Traversal)
		}
	}
	return nil
}

// Exit implements hclsyntax.Walker.
func (w *referenceWalker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if _, ok := n.(hclsyntax.ChildScope); ok {
		w.scopes = w.scopes[:len(w.scopes)-1]
	}
	return nil
}

func (w *referenceWalker) local(name string) bool {
	return slices.ContainsFunc(w.scopes, func(names map[string]struct{}) bool {
		_, ok := names[name]
		return ok
	})
}

func (w *referenceWalker) inType(at hcl.Range) bool {
	return slices.ContainsFunc(w.types, func(t hcl.Range) bool {
		return t.Start.Byte <= at.Start.Byte && at.End.Byte <= t.End.Byte
	})
}
