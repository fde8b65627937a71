package sched

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"

	"github.com/drover-io/drover/state"
)

// check is a constraint ready to be asked of many nodes.
type check struct {
	constraint state.Constraint
	unique     bool // names something that differs from node to node: it is asked of every node, not once per class
	holds      func(left string, hasLeft bool, right string, hasRight bool) bool
}

// compile readies a constraint. distinct_hosts and distinct_property are not about one node and are not compiled here.
func compile(c state.Constraint) *check {
	return &check{
		constraint: c,
		unique:     namesUnique(c.LTarget) || namesUnique(c.RTarget),
		holds:      operation(c),
	}
}

// lookup is what a node, or a device, has under a name such as attr.kernel.name. It reports false when it lacks it.
type lookup func(name string) (string, bool)

// passes asks a node, or a device.
func (c *check) passes(look lookup) bool {
	left, hasLeft := interpolate(c.constraint.LTarget, look)
	right, hasRight := interpolate(c.constraint.RTarget, look)
	return c.holds(left, hasLeft, right, hasRight)
}

// String is the constraint as a user would say it: ${attr.kernel.name} = linux.
func (c *check) String() string { return constraintText(c.constraint) }

func constraintText(c state.Constraint) string {
	parts := make([]string, 0, 3)
	for _, s := range []string{c.LTarget, operand(c.Operand), c.RTarget} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

// operand maps the other spellings of an operator to its constant.
func operand(s string) string {
	switch s {
	case "", "==", "is":
		return state.OperandEqual
	case "not":
		return state.OperandNotEqual
	case "set_contains_all":
		return state.OperandSetContains
	}
	return s
}

// both turns a comparison of two values into an operation that is false when one of them is missing.
func both(f func(left, right string) bool) func(string, bool, string, bool) bool {
	return func(left string, hasLeft bool, right string, hasRight bool) bool {
		return hasLeft && hasRight && f(left, right)
	}
}

// operation is the meaning of a constraint's operator. An operator that is not known is true of no node.
func operation(c state.Constraint) func(left string, hasLeft bool, right string, hasRight bool) bool {
	switch operand(c.Operand) {
	case state.OperandEqual:
		return both(same)
	case state.OperandNotEqual: // a node without the attribute does not have that value
		return func(l string, hasLeft bool, r string, hasRight bool) bool { return hasLeft != hasRight || !same(l, r) }
	case state.OperandLess:
		return both(func(l, r string) bool { return compare(l, r) < 0 })
	case state.OperandLessOrEqual:
		return both(func(l, r string) bool { return compare(l, r) <= 0 })
	case state.OperandGreater:
		return both(func(l, r string) bool { return compare(l, r) > 0 })
	case state.OperandGreaterOrEqual:
		return both(func(l, r string) bool { return compare(l, r) >= 0 })
	case state.OperandRegexp:
		return both(matcher(c.RTarget))
	case state.OperandVersion:
		return both(versionMatches)
	case state.OperandSemver:
		return both(semverMatches)
	case state.OperandSetContains:
		return both(containsAll)
	case state.OperandSetContainsAny:
		return both(containsAny)
	case state.OperandIsSet:
		return func(_ string, hasLeft bool, _ string, _ bool) bool { return hasLeft }
	case state.OperandIsNotSet:
		return func(_ string, hasLeft bool, _ string, _ bool) bool { return !hasLeft }
	}
	return both(func(string, string) bool { return false })
}

// compare orders two values: as numbers when both are, as amounts when both have units of one kind, as text otherwise.
func compare(l, r string) int {
	if a, err := strconv.ParseInt(l, 10, 64); err == nil {
		if b, err := strconv.ParseInt(r, 10, 64); err == nil {
			return sign(a < b, a > b)
		}
	}
	if a, err := strconv.ParseFloat(l, 64); err == nil {
		if b, err := strconv.ParseFloat(r, 64); err == nil {
			return sign(a < b, a > b)
		}
	}
	if a, ok := parseAmount(l); ok {
		if b, ok := parseAmount(r); ok && a.kind == b.kind {
			return sign(a.n < b.n, a.n > b.n)
		}
	}
	return strings.Compare(l, r)
}

// same reports whether two values are equal: 8 GiB is 8192 MiB.
func same(l, r string) bool {
	if l == r {
		return true
	}
	a, isAmount := parseAmount(l)
	if !isAmount {
		return false
	}
	b, isAmount := parseAmount(r)
	return isAmount && a == b
}

func sign(less, greater bool) int {
	switch {
	case less:
		return -1
	case greater:
		return 1
	}
	return 0
}

// matcher compiles a literal pattern once; one that names an attribute is compiled per node.
func matcher(pattern string) func(left, right string) bool {
	if strings.Contains(pattern, "${") {
		return func(left, right string) bool {
			re, err := regexp.Compile(right)
			return err == nil && re.MatchString(left)
		}
	}
	re, err := regexp.Compile(pattern)
	return func(left, _ string) bool { return err == nil && re.MatchString(left) }
}

// versionMatches understands loose versions and the operators =, !=, >, <, >=, <=, ~>. A pre-release matches only a constraint
// that names one.
func versionMatches(left, right string) bool {
	v, err := version.NewVersion(left)
	if err != nil {
		return false
	}
	c, err := version.NewConstraint(right)
	return err == nil && c.Check(v)
}

// semverMatches compares strict semantic versions in their order of precedence (semver.org §11), pre-releases included.
func semverMatches(left, right string) bool {
	v, err := version.NewSemver(left)
	if err != nil {
		return false
	}
	for part := range strings.SplitSeq(right, ",") {
		part = strings.TrimSpace(part)
		if strings.HasPrefix(part, "~>") { // not in the specification of semver; versions of one major number are meant
			c, err := version.NewConstraint(part)
			if err != nil || !c.Check(v) {
				return false
			}
			continue
		}
		text := strings.TrimLeft(part, "<>=!")
		want, err := version.NewSemver(strings.TrimSpace(text))
		if err != nil {
			return false
		}
		if !ordered(v.Compare(want), strings.TrimSuffix(part, text)) {
			return false
		}
	}
	return true
}

// ordered reports whether the outcome of a comparison satisfies an operator.
func ordered(c int, op string) bool {
	switch op {
	case "", "=", "==":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return false
}

func elements(list string) map[string]bool {
	out := map[string]bool{}
	for e := range strings.SplitSeq(list, ",") {
		out[strings.TrimSpace(e)] = true
	}
	return out
}

func containsAll(left, right string) bool {
	have := elements(left)
	for want := range elements(right) {
		if !have[want] {
			return false
		}
	}
	return true
}

func containsAny(left, right string) bool {
	have := elements(left)
	for want := range elements(right) {
		if have[want] {
			return true
		}
	}
	return false
}

// interpolate replaces every ${…} of a target by what look finds there. It reports false when it lacks one.
func interpolate(target string, look lookup) (string, bool) {
	if !strings.Contains(target, "${") {
		return target, true
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(target, "${")
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		name, after, closed := strings.Cut(rest, "}")
		value, has := look(strings.TrimSpace(name))
		if !closed || !has {
			return "", false
		}
		out.WriteString(value)
		target = after
	}
}

// nodeLook finds what a node has under a name such as attr.kernel.name, meta.rack or node.datacenter.
func nodeLook(n *state.Node) lookup {
	return func(name string) (string, bool) { return nodeValue(n, name) }
}

func nodeValue(n *state.Node, name string) (string, bool) {
	if key, ok := strings.CutPrefix(name, "attr."); ok {
		v, has := n.Attributes[key]
		return v, has
	}
	if key, ok := strings.CutPrefix(name, "meta."); ok {
		v, has := n.Meta[key]
		return v, has
	}
	switch name {
	case "node.unique.id":
		return n.ID, true
	case "node.unique.name":
		return n.Name, true
	case "node.datacenter":
		return n.Datacenter, true
	case "node.class":
		return n.NodeClass, n.NodeClass != ""
	case "node.pool":
		return state.PoolOf(n.NodePool), true
	case "node.region":
		return n.Region, n.Region != ""
	}
	return "", false
}

// namesUnique reports whether a target names something that is not part of a node's class.
func namesUnique(target string) bool {
	return strings.Contains(target, "unique.")
}

// describe says what a node answers to a constraint that it does not pass.
func (c *check) describe(n *state.Node) string {
	text := fmt.Sprintf("constraint %q is false", c.String())
	if !strings.Contains(c.constraint.LTarget, "${") {
		return text
	}
	if left, has := interpolate(c.constraint.LTarget, nodeLook(n)); has {
		return fmt.Sprintf("%s: it is %q here", text, left)
	}
	return text + ": not set here"
}
