package jobspecs

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
)

// node is one block of a job as it was written, in HCL or JSON, before inheritance and defaults.
type node struct {
	*schema
	label string
	at    hcl.Range // of its header
	attrs map[string]attr
	kids  []*node
}

// attr is one attribute of a node, converted to its field's type.
type attr struct {
	value any
	at    hcl.Range            // of the value
	bad   bool                 // it is in error, which has been said
	keys  map[string]hcl.Range // places of the keys of a map written as a block
}

func newNode(s *schema, label string, at hcl.Range) *node {
	return &node{schema: s, label: label, at: at, attrs: map[string]attr{}}
}

// title names the node for people: group "web", resources.
func (n *node) title() string {
	if n.label == "" {
		return n.Name()
	}
	return fmt.Sprintf("%s %q", n.Name(), n.label)
}

// kid returns the first block of a name, nil when there is none.
func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.Name() == name {
			return k
		}
	}
	return nil
}

// all returns the blocks of a name, in order.
func (n *node) all(name string) []*node {
	var kids []*node
	for _, k := range n.kids {
		if k.Name() == name {
			kids = append(kids, k)
		}
	}
	return kids
}

// drop removes the blocks of a name.
func (n *node) drop(name string) {
	var kids []*node
	for _, k := range n.kids {
		if k.Name() != name {
			kids = append(kids, k)
		}
	}
	n.kids = kids
}

// str returns a string attribute, "" when unset or bad.
func (n *node) str(name string) string {
	s, _ := n.attrs[name].value.(string)
	return s
}

// has reports whether an attribute was written, rightly or wrongly.
func (n *node) has(name string) bool {
	_, ok := n.attrs[name]
	return ok
}

// adopt adds a block and refuses a second one of a kind or a label.
func (c *collector) adopt(n, kid *node) {
	for _, k := range n.kids {
		if k.Name() != kid.Name() || kid.Type == TypeBlocks || kid.Path == "resources.device" || k.label != kid.label {
			continue
		}
		if kid.Type == TypeBlock {
			c.errorf(kid.at, "%s may be written only once in %s; the first is on line %d", kid.Name(), n.title(), c.line(k.at))
		} else {
			c.errorf(kid.at, "there is a second %s; the first is on line %d", kid.title(), c.line(k.at))
		}
		return
	}
	n.kids = append(n.kids, kid)
}

// unsupported says what is to be said of a name that does not work, and reports whether it works.
func (c *collector) unsupported(f *Field, at hcl.Range) bool {
	switch {
	case f.Status == Works:
		return false
	case f.Status == Refused && f.Note != "":
		c.errorf(at, "%s is not supported: %s", f.Path, f.Note)
	case f.Status == Refused:
		c.errorf(at, "%s is not supported yet", f.Path)
	case f.Status == Warns && f.Note != "":
		c.warnf(at, "%s is ignored: %s", f.Path, f.Note)
	case f.Status == Warns:
		c.warnf(at, "%s is ignored", f.Path)
	}
	return true
}
