package state

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// NodeColumns are the nodes of a plan in less than half of the bytes. From level 2 on. The columns Index and Node of the plan's
// records are then written as runs, see runsOf.
type NodeColumns struct {
	IDs         []byte  // 16 bytes each: UUIDs
	Generations []int64 // how much greater each is than the one before
}

// columnar is the plan with its nodes in columns, or as it is when a node's ID is no UUID.
func (c ApplyPlan) columnar() ApplyPlan {
	if len(c.Nodes) == 0 || c.Columns != nil {
		return c
	}
	to := &NodeColumns{IDs: make([]byte, 0, len(c.Nodes)*idBytes), Generations: make([]int64, len(c.Nodes))}
	var last uint64
	for i, n := range c.Nodes {
		id, ok := parseID(n.ID)
		if !ok {
			return c
		}
		to.IDs = id.append(to.IDs)
		to.Generations[i], last = int64(n.Generation-last), n.Generation
	}
	records := make([]PlanRecord, len(c.Records))
	for i, rec := range c.Records {
		rec.Index, rec.Node = runsOf(rec.Index), runsOf(rec.Node)
		records[i] = rec
	}
	c.Nodes, c.Columns, c.Records = nil, to, records
	return c
}

// rows is the plan without columns.
func (c ApplyPlan) rows() (ApplyPlan, error) {
	from := c.Columns
	if from == nil {
		return c, nil
	}
	n := len(from.Generations)
	if len(c.Nodes) > 0 || len(from.IDs) != n*idBytes {
		return c, fmt.Errorf("columns of the plan's nodes do not belong together")
	}
	texts := make([]byte, 0, n*len(lowestID))
	for i := range n {
		b := from.IDs[i*idBytes:]
		text := idKey{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}.text()
		texts = append(texts, text[:]...)
	}
	all, generation := string(texts), uint64(0)
	c.Nodes, c.Columns = make([]NodeRef, n), nil
	for i := range c.Nodes {
		generation += uint64(from.Generations[i])
		c.Nodes[i] = NodeRef{ID: all[i*len(lowestID) : (i+1)*len(lowestID)], Generation: generation}
	}
	room := maxPlanNumbers
	for i := range c.Records {
		for _, column := range []*[]int{&c.Records[i].Index, &c.Records[i].Node} {
			numbers, err := numbersIn(*column, room)
			if err != nil {
				return c, fmt.Errorf("record %d of the plan: %w", i, err)
			}
			*column, room = numbers, room-len(numbers)
		}
	}
	return c, nil
}

// runsOf writes numbers that are at least -1 as runs: each one higher, and -n for n numbers that count on from the one before.
func runsOf(numbers []int) []int {
	var out []int
	for i, n := range numbers {
		switch last := len(out) - 1; {
		case i == 0 || n != numbers[i-1]+1:
			out = append(out, n+1)
		case out[last] < 0:
			out[last]--
		default:
			out = append(out, -1)
		}
	}
	return out
}

// maxPlanNumbers bounds the numbers in the columns of a plan that are written as runs: what they could be in MaxCommandBytes without.
const maxPlanNumbers = MaxCommandBytes / 2

// numbersIn are the numbers that runs stand for, at most so many.
func numbersIn(runs []int, room int) (out []int, err error) {
	out = make([]int, 0, len(runs))
	for _, r := range runs {
		if r >= 0 {
			out = append(out, r-1)
			continue
		}
		if len(out) == 0 || r < len(out)-room {
			return nil, fmt.Errorf("a run of %d after %d copies", r, len(out))
		}
		out = slices.Grow(out, -r)
		for n := out[len(out)-1]; r < 0; r++ {
			n++
			out = append(out, n)
		}
	}
	return out, nil
}

func decodePlan(body []byte) (Command, error) {
	var c ApplyPlan
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return c.rows()
}
