package sched

import "slices"

// table is the rows of a fleet as they were, or will be, at some time. A pass changes a part of them, and what it began from must remain:
// its plan may be lost. Instead of copying all rows for each pass, only one of the tables that came of each other has them, and the others
// know what is different in them. One that is asked for its rows takes them back. So a table is a value, whatever became of it, and the one
// that is worked with costs no more than a slice.
type table struct {
	rows  []row    // nil where another one has them
	to    *table   // the one that has them, or knows who does
	other []change // what is different in to, the first change first
}

// change is what a row was.
type change struct {
	pos int32
	row row
}

// next returns a table that is the same, and has the rows now.
func (t *table) next() *table {
	t.take()
	n := &table{rows: t.rows}
	t.rows, t.to = nil, n
	return n
}

// take gets the rows back.
func (t *table) take() {
	var way []*table
	for ; t.rows == nil; t = t.to {
		way = append(way, t)
	}
	for _, to := range slices.Backward(way) {
		from := to.to
		rows := from.rows
		from.rows, from.to = nil, to
		from.other = make([]change, 0, len(to.other))
		for _, c := range slices.Backward(to.other) {
			from.other = append(from.other, change{c.pos, rows[c.pos]})
			rows[c.pos] = c.row
		}
		to.rows, to.to, to.other = rows, nil, nil
	}
}
