package state

// Affinity is a wish: nodes for which "LTarget Operand RTarget" holds are liked more, or less where the weight is negative.
type Affinity struct {
	LTarget string
	RTarget string
	Operand string // one of the Operand constants but distinct_hosts and distinct_property
	Weight  int    // -100..100, not 0
}

// Constraint is the affinity's condition without its weight.
func (a *Affinity) Constraint() Constraint {
	return Constraint{LTarget: a.LTarget, RTarget: a.RTarget, Operand: a.Operand}
}

// Spread asks for a group's copies to be spread over the values that nodes have for an attribute: by the targets' percentages, or
// evenly where there are none.
type Spread struct {
	Attribute    string         // such as ${node.datacenter}
	Weight       int            // 1..100, against the group's other spreads; together they are one score, whatever their sum
	SpreadTarget []SpreadTarget `json:",omitempty"`
}

// SpreadTarget is the part of the copies that nodes with one value are to have. What the targets leave of 100 % belongs to the
// values that no target names.
type SpreadTarget struct {
	Value   string
	Percent int // 0..100, together at most 100
}
