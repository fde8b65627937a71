package jobspecs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	version "github.com/hashicorp/go-version"
)

// shape brings the tree of a job into the one form that a state.Job has: second spellings, inheritance, defaults. Both readers'
// trees go through it.
func (c *collector) shape(job *node) {
	if !job.has("id") {
		job.attrs.set("id", attr{value: job.label, at: job.at})
	}
	if !job.has("name") {
		job.attrs.set("name", attr{value: job.label, at: job.at})
	}
	c.wrapTasks(job)
	c.placement(job)
	groups := job.all("group")
	for _, g := range groups {
		inherit(g, job, "update")
		inherit(g, job, "reschedule")
		c.placement(g)
		for _, t := range g.all("task") {
			inherit(t, g, "restart")
			c.placement(t)
		}
	}
	job.drop("update")
	job.drop("reschedule")
	c.batch = job.str("type") == "batch"
	for _, k := range job.kids {
		if k.Name() != "group" {
			completeBlocks(k)
		}
	}
	for _, g := range groups {
		adjustReschedule(g.kid("reschedule"), c.batch)
		completeBlocks(g)
	}
	c.counts(job, groups)
}

// wrapTasks gives every task directly under the job a group of its own name.
func (c *collector) wrapTasks(job *node) {
	tasks := job.all("task")
	job.drop("task")
	for _, t := range tasks {
		g := newNode(job.blocks["group"], t.label, t.at)
		g.kids = []*node{t}
		c.adopt(job, g)
	}
}

// counts refuses what is missing or too much, before a large job is built.
func (c *collector) counts(job *node, groups []*node) {
	if len(groups) == 0 {
		c.also(job.at, "%s has no group and no task", job.title())
	}
	if len(groups) > MaxGroups {
		c.errorf(groups[MaxGroups].at, "%s has %d groups; it may have %d", job.title(), len(groups), MaxGroups)
	}
	for _, g := range groups {
		tasks := g.all("task")
		if len(tasks) == 0 {
			c.also(g.at, "%s has no task", g.title())
		}
		if len(tasks) > MaxTasks {
			c.errorf(tasks[MaxTasks].at, "%s has %d tasks; it may have %d", g.title(), len(tasks), MaxTasks)
		}
		for _, t := range tasks {
			c.required(t)
		}
	}
}

func (c *collector) required(n *node) {
	for _, f := range n.schema.required {
		if !n.has(f.Name()) {
			hint := ""
			if f.Words != nil {
				hint = "; " + oneOf(f.Words)
			}
			c.also(n.at, "%s has no %s%s", n.title(), f.Name(), hint)
		}
	}
}

// inherit gives n's block of a name every attribute that only the outer one has.
func inherit(n, outer *node, name string) {
	from := outer.kid(name)
	if from == nil {
		return
	}
	to := n.kid(name)
	if to == nil {
		to = newNode(from.schema, "", from.at)
		n.kids = append(n.kids, to)
	}
	merged := slices.Clone(from.attrs)
	for a, b := range map[string]string{"attempts": "unlimited", "unlimited": "attempts"} { // they exclude each other
		if to.has(a) && !to.has(b) {
			merged.remove(b)
		}
	}
	for _, a := range to.attrs {
		merged.set(a.name, a.attr)
	}
	to.attrs = merged
}

// adjustReschedule settles what one attribute of the policy means for the defaults of others.
func adjustReschedule(n *node, batch bool) {
	if n == nil {
		return
	}
	unlimited, _ := n.attrs.of("unlimited").value.(bool)
	if n.has("attempts") && !n.has("unlimited") {
		n.attrs.set("unlimited", attr{value: false, at: n.attrs.of("attempts").at})
	} else if unlimited && !n.has("attempts") {
		n.attrs.set("attempts", attr{value: int64(0), at: n.attrs.of("unlimited").at})
	}
	if f := n.str("delay_function"); batch && f != "" && f != "constant" && !n.has("max_delay") {
		if v, ok := n.schema.attrs["max_delay"].fallback(false); ok {
			n.attrs.set("max_delay", attr{value: v, at: n.attrs.of("delay_function").at})
		}
	}
}

// completeBlocks makes the blocks that n and everything below it have whether written or not. Defaults of attributes are filled in when
// the job is built, see builder.object.
func completeBlocks(n *node) {
	for _, s := range n.made {
		if n.kid(s.Name()) == nil {
			n.kids = append(n.kids, newNode(s, "", n.at))
		}
	}
	for _, k := range n.kids {
		completeBlocks(k)
	}
}

// fallback returns the default, converted; false when there is none.
func (f *Field) fallback(batch bool) (any, bool) {
	text := f.Default
	if batch && f.Batch != "" {
		text = f.Batch
	}
	switch {
	case text == "" || text == "the label":
		return nil, false
	case f.Type == TypeList: // ["*"] is the only one
		return []any{strings.Trim(text, `[]"`)}, true
	}
	v, err := f.convert(text)
	if err != nil {
		return nil, false
	}
	return v, true
}

// conditions brings every constraint and affinity of n to attribute, operator and value, and drops constraints that restrict nothing.
func (c *collector) conditions(n *node) {
	kept := n.kids[:0:0]
	for _, k := range n.kids {
		if k.Name() != "constraint" && k.Name() != "affinity" || c.condition(k, n) {
			kept = append(kept, k)
		}
	}
	n.kids = kept
}

// shorthands are the operators that may be written as attributes that hold the value.
func shorthands() []string {
	return []string{"regexp", "version", "semver", "set_contains", "set_contains_any"}
}

// condition reports whether the constraint or affinity stays. A bad one stays, so that nothing else is said of it.
func (c *collector) condition(k, parent *node) bool {
	for _, a := range k.attrs {
		if a.bad {
			return true
		}
	}
	var used []string
	for _, name := range append(shorthands(), "distinct_hosts", "distinct_property") {
		if k.has(name) {
			used = append(used, name)
		}
	}
	if len(used) > 1 || len(used) == 1 && k.has("operator") {
		c.errorf(k.attrs.of(used[0]).at, "%s names the operator already; write one operator per %s", used[0], k.Name())
		return true
	}
	if len(used) == 1 && !c.expandShorthand(k, used[0]) {
		return false
	}
	canonicalOperator(k)
	if hosts := k.str("operator") == "distinct_hosts"; hosts && k.str("value") == "false" {
		return false
	}
	c.checkCondition(k, parent)
	return true
}

// expandShorthand writes a shorthand out. It is false for distinct_hosts = false.
func (c *collector) expandShorthand(k *node, name string) bool {
	a := k.attrs.of(name)
	k.attrs.remove(name)
	target := "value"
	switch name {
	case "distinct_hosts":
		if a.value == false {
			return false
		}
		a.value = "true"
	case "distinct_property":
		target = "attribute"
	}
	if k.has(target) {
		c.errorf(a.at, "%s holds the %s already; leave the %s out", name, target, target)
	}
	k.attrs.set("operator", attr{value: name, at: a.at})
	k.attrs.set(target, a)
	return true
}

func canonicalOperator(k *node) {
	op := k.attrs.of("operator")
	if !k.has("operator") {
		op = attr{value: "=", at: k.at}
	}
	switch op.value {
	case "==", "is":
		op.value = "="
	case "not":
		op.value = "!="
	case "set_contains_all":
		op.value = "set_contains"
	}
	k.attrs.set("operator", op)
}

// checkCondition says what is wrong with a constraint or an affinity at the place of it. state.Job.Validate has the same rules for jobs that
// come another way.
func (c *collector) checkCondition(k, parent *node) {
	op, value := k.str("operator"), k.str("value")
	distinct := strings.HasPrefix(op, "distinct_")
	if weight := k.attrs.of("weight"); weight.value == int64(0) {
		c.errorf(weight.at, "a weight of 0 means nothing; write 1 to 100, or -100 to -1 to avoid such nodes")
	}
	switch {
	case distinct && (parent.Name() == "task" || parent.Name() == "device"):
		c.errorf(k.attrs.of("operator").at, "%s belongs to a job or a group, not to a %s", op, parent.Name())
	case op == "distinct_hosts":
	case k.str("attribute") == "":
		c.errorf(k.at, "the %s has no attribute", k.Name())
	case op == "is_set" || op == "is_not_set":
	case !k.has("value") && !distinct || value == "" && strings.HasPrefix(op, "set_"):
		c.errorf(k.at, "the %s has no value", k.Name())
	case !strings.Contains(value, "${"): // otherwise known on the node only
		if problem := checkOperand(op, value); problem != "" {
			c.errorf(k.attrs.of("value").at, "%s", problem)
		}
	}
}

// checkOperand says what is wrong with the value of a constraint, if anything.
func checkOperand(op, value string) string {
	switch op {
	case "distinct_property":
		if n, err := strconv.Atoi(value); value != "" && (err != nil || n < 1) {
			return fmt.Sprintf("distinct_property needs a number of at least 1, not %q", cut(value))
		}
	case "version", "semver":
		if _, err := version.NewConstraint(value); err != nil {
			return fmt.Sprintf(`%q is not a version constraint such as ">= 1.2, < 2"`, cut(value))
		}
	case "regexp":
		if len(value) > MaxRegexpPattern {
			return fmt.Sprintf("the regular expression has %d bytes; it may have %d", len(value), MaxRegexpPattern)
		}
		if _, err := regexp.Compile(value); err != nil {
			return fmt.Sprintf("this is not a regular expression: %v", err)
		}
	}
	return ""
}
