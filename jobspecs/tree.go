package jobspecs

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// node is one block of a job as it was written, in HCL or JSON, before inheritance and defaults.
type node struct {
	*schema
	label string
	at    hcl.Range // of its header
	attrs attrs
	kids  []*node
}

// attr is one attribute of a node, converted to its field's type.
type attr struct {
	value any
	at    hcl.Range            // of the value
	bad   bool                 // it is in error, which has been said
	keys  map[string]hcl.Range // places of the keys of a map written as a block
}

// attrs are attributes by their names, of which a node has a few: a map takes several times the memory.
type attrs []named

type named struct {
	name string
	attr
}

func (as attrs) find(name string) int {
	for i := range as {
		if as[i].name == name {
			return i
		}
	}
	return -1
}

// of is the attribute of a name, the zero value when there is none.
func (as attrs) of(name string) attr {
	if i := as.find(name); i >= 0 {
		return as[i].attr
	}
	return attr{}
}

func (as *attrs) set(name string, a attr) {
	if i := as.find(name); i >= 0 {
		(*as)[i].attr = a
		return
	}
	*as = append(*as, named{name, a})
}

func (as *attrs) remove(name string) {
	if i := as.find(name); i >= 0 {
		*as = slices.Delete(*as, i, i+1)
	}
}

func newNode(s *schema, label string, at hcl.Range) *node {
	return &node{schema: s, label: label, at: at}
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
	s, _ := n.attrs.of(name).value.(string)
	return s
}

// has reports whether an attribute was written, rightly or wrongly.
func (n *node) has(name string) bool {
	return n.attrs.find(name) >= 0
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
