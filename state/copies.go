package state

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// recordCopies follows the record of an allocation: allocations that are like it, in columns. A million rows written whole take a
// minute to read; what tells copies of one group apart is an ID, a node, an index and some times.
const recordCopies = "copies"

// maxCopies bounds the rows of one such record.
const maxCopies = 1023

// copies are allocations that were created behind one another. Numbers are differences to the row before, the first one's to the row
// that was written whole; a column that is all zero is left out.
type copies struct {
	Count int
	IDs   string      // one behind the other, without anything in between
	Nodes []AllocNode `json:",omitempty"` // machines that no allocation before was on; they are numbered through the file from 0
	Node  []int       // which machine each is on
	Index []int64     `json:",omitempty"`

	ReportBoot       []int64   `json:",omitempty"`
	ReportSeq        []int64   `json:",omitempty"`
	ClientModifyTime []int64   `json:",omitempty"`
	CreateTime       []int64   `json:",omitempty"`
	CreateIndex      []int64   `json:",omitempty"`
	ModifyIndex      []int64   `json:",omitempty"`
	Times            [][]int64 `json:",omitempty"` // of the tasks' states, in their order; one left out is empty
}

// numbers are the columns and what they are of.
func (c *copies) numbers() []*[]int64 {
	return []*[]int64{&c.Index, &c.ReportBoot, &c.ReportSeq, &c.ClientModifyTime, &c.CreateTime, &c.CreateIndex, &c.ModifyIndex}
}

const numbersOfCopy = 7

// numbersOf are a row's numbers, in the order of the columns.
func numbersOf(a *Alloc) [numbersOfCopy]int64 {
	return [numbersOfCopy]int64{
		int64(a.Index), int64(a.ReportBoot), int64(a.ReportSeq), a.ClientModifyTime, a.CreateTime, int64(a.CreateIndex), int64(a.ModifyIndex),
	}
}

func (a *Alloc) setNumbers(n [numbersOfCopy]int64) {
	a.Index, a.ReportBoot, a.ReportSeq, a.ClientModifyTime = int(n[0]), uint64(n[1]), uint64(n[2]), n[3]
	a.CreateTime, a.CreateIndex, a.ModifyIndex = n[4], uint64(n[5]), uint64(n[6])
}

// ordinary reports whether a row has nothing that a copy in columns cannot have.
func ordinary(a *Alloc) bool {
	rest, ok := strings.CutPrefix(a.Name, a.JobID)
	if ok {
		rest, ok = strings.CutPrefix(rest, "."+a.TaskGroup+"[")
	}
	return ok && rest == strconv.Itoa(a.Index)+"]" && len(a.Ports) == 0 && len(a.RescheduleEvents) == 0 &&
		a.PreviousAllocation == "" && a.NextAllocation == "" && len(a.Resources.Cores)+len(a.Resources.Devices) == 0
}

// alike reports whether two ordinary rows differ in nothing but what the columns hold.
func alike(a, b *Alloc) bool {
	sameShape := a.TaskStates.shape == b.TaskStates.shape ||
		a.TaskStates.shape != nil && b.TaskStates.shape != nil && a.TaskStates.shape.key == b.TaskStates.shape.key
	return sameShape && sameGroup(a.AllocGroup, b.AllocGroup) &&
		a.DesiredStatus == b.DesiredStatus && a.DesiredDescription == b.DesiredDescription && a.Migrate == b.Migrate &&
		a.ClientStatus == b.ClientStatus && a.ClientDescription == b.ClientDescription
}

// sameGroup reports whether two groups of allocations that hold nothing by name say the same.
func sameGroup(a, b *AllocGroup) bool {
	if a == b {
		return true
	}
	if !a.Resources.Same(&b.Resources) {
		return false
	}
	g, h := *a, *b
	g.Resources, h.Resources = AllocResources{}, AllocResources{}
	return reflect.DeepEqual(g, h)
}

// copiesWriter writes allocations.
type copiesWriter struct {
	f     *frameWriter
	nodes map[AllocNode]int // machines seen so far, numbered
	whole *Alloc            // the row last written whole; nil when nothing can follow it in columns
	last  *Alloc            // the row before
	c     copies
	ids   strings.Builder
}

// write writes one row, now or with those that are like it.
func (w *copiesWriter) write(a *Alloc) bool {
	plain := ordinary(a)
	if plain && w.whole != nil && w.c.Count < maxCopies && alike(w.whole, a) {
		w.add(a)
		return true
	}
	if !w.flush() || !w.f.write(TableAllocs.String(), a) {
		return false
	}
	w.number(*a.AllocNode)
	w.whole, w.last = nil, a
	if plain {
		w.whole = a
	}
	return true
}

// number is a machine's number, and whether it is a new one.
func (w *copiesWriter) number(n AllocNode) (number int, fresh bool) {
	number, known := w.nodes[n]
	if !known {
		number = len(w.nodes)
		w.nodes[n] = number
	}
	return number, !known
}

func (w *copiesWriter) add(a *Alloc) {
	w.c.Count++
	w.ids.WriteString(a.ID)
	number, fresh := w.number(*a.AllocNode)
	if fresh {
		w.c.Nodes = append(w.c.Nodes, *a.AllocNode)
	}
	w.c.Node = append(w.c.Node, number)
	now, was := numbersOf(a), numbersOf(w.last)
	for i, column := range w.c.numbers() {
		*column = append(*column, now[i]-was[i])
	}
	for k, at := range a.TaskStates.times {
		if len(w.c.Times) <= k {
			w.c.Times = append(w.c.Times, nil)
		}
		w.c.Times[k] = append(w.c.Times[k], at-w.last.TaskStates.times[k])
	}
	w.last = a
}

// flush writes the rows that are in columns.
func (w *copiesWriter) flush() bool {
	if w.c.Count == 0 {
		return w.f.err == nil
	}
	w.c.IDs = w.ids.String()
	for _, column := range w.c.numbers() {
		*column = unlessZero(*column)
	}
	for k := range w.c.Times {
		w.c.Times[k] = unlessZero(w.c.Times[k])
	}
	ok := w.f.write(recordCopies, &w.c)
	w.c, w.whole = copies{}, nil
	w.ids.Reset()
	return ok
}

func unlessZero(column []int64) []int64 {
	for _, n := range column {
		if n != 0 {
			return column
		}
	}
	return nil
}

// wrong says what is wrong with the columns, "" when nothing is.
func (c *copies) wrong(like *Alloc, nodes int) string {
	times := len(like.TaskStates.times)
	switch {
	case c.Count < 1 || c.Count > maxCopies:
		return "the number of rows"
	case len(c.IDs) != c.Count*len(lowestID):
		return "the IDs"
	case len(c.Node) != c.Count || len(c.Nodes) > c.Count:
		return "the nodes"
	case len(c.Times) != times:
		return "the tasks' times"
	}
	columns := slices.Clone(c.Times)
	for _, column := range c.numbers() {
		columns = append(columns, *column)
	}
	for _, column := range columns {
		if len(column) != 0 && len(column) != c.Count {
			return "a column's length"
		}
	}
	for _, n := range c.Node {
		if n < 0 || n >= nodes+len(c.Nodes) {
			return "a node's number"
		}
	}
	return ""
}

// rows are the allocations behind the one that they are like. nodes are the machines by number.
func (c *copies) rows(like *Alloc, nodes []*AllocNode) []*Alloc {
	out := make([]*Alloc, c.Count)
	name := like.JobID + "." + like.TaskGroup + "["
	numbers, times := numbersOf(like), like.TaskStates.times
	columns := c.numbers()
	for i := range out {
		a := *like
		a.ID = strings.Clone(c.IDs[i*len(lowestID) : (i+1)*len(lowestID)])
		a.AllocNode = nodes[c.Node[i]]
		for k, column := range columns {
			if len(*column) > 0 {
				numbers[k] += (*column)[i]
			}
		}
		a.setNumbers(numbers)
		a.Name = name + strconv.Itoa(a.Index) + "]"
		if len(times) > 0 {
			next := make([]int64, len(times))
			copy(next, times)
			for k, column := range c.Times {
				if len(column) > 0 {
					next[k] += column[i]
				}
			}
			times = next
			a.TaskStates.times = times
		}
		out[i] = &a
	}
	return out
}
