package sched

import "math"

// view is what the classes of nodes are to one ask. Each is asked when the first node of it is looked at.
type view struct {
	ledger    *ledger
	ask       *ask
	algorithm Algorithm
	classes   []classView
	verdicts  []verdict // shared with asks of the same terms
}

// classView is what a class of nodes is to one ask.
type classView struct {
	asked  bool
	suits  bool
	bucket *bucket // of the look that the view is of; nil where it is not known, or not the same for all nodes
	want   room    // what a copy holds there, more than there is where that cannot be told
	line           // how well a copy fits on a node of the class
}

// verdict is whether a class of nodes suits an ask, as far as that is known.
type verdict int8

const (
	unasked verdict = iota
	suitable
	unsuitable
)

// viewOf is an ask's view of the classes.
func (l *ledger) viewOf(a *ask) *view {
	if l.view != nil && l.view.ask == a && l.view.algorithm == l.algorithm {
		return l.view
	}
	classes := len(l.fleet.classes)
	l.view = &view{
		ledger: l, ask: a, algorithm: l.algorithm, classes: make([]classView, classes), verdicts: l.memory.verdictsOn(a, classes),
	}
	return l.view
}

// of is the view of a node's class.
func (v *view) of(pos int) *classView {
	c := &v.classes[v.ledger.rows[pos].classID()]
	if !c.asked {
		v.look(c, pos)
	}
	return c
}

// look asks a class. Any node of it answers for all.
func (v *view) look(c *classView, pos int) {
	n, id := v.ledger.fleet.nodes[pos].node, v.ledger.rows[pos].classID()
	c.asked = true
	if v.verdicts[id] == unasked {
		v.verdicts[id] = unsuitable
		if v.ask.suits(n) {
			v.verdicts[id] = suitable
		}
	}
	c.suits = v.verdicts[id] == suitable
	c.want = v.ask.on(n)
	c.line = lineOf(v.algorithm, heftOf(minus(room{}, c.want), sizeOf(n)), v.ask.fitWeight())
	if v.ask.byNode && n.Resources.MHzPerCore <= 0 {
		c.want.CPU = math.MaxInt
	}
}
