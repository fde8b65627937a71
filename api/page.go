package api

import (
	"iter"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// page turns the rows of a list into one page of the items that the filter keeps. The rows come in the order of their keys, with
// ?reverse the last one first; a page begins at the key that the page before answered as its next token.
func page[Row, Item any](c *call, rows iter.Seq[*Row], key func(*Row) string, item func(*Row) Item) ([]Item, error) {
	from, err := url.PathUnescape(c.opts.nextToken)
	if err != nil {
		return nil, NewError(CodeInvalid, "pass on the next token of the page before", "next_token %q is none", c.opts.nextToken)
	}
	keep, err := keeps[Row, Item](c)
	if err != nil {
		return nil, err
	}
	if c.opts.reverse {
		all := slices.Collect(rows)
		slices.Reverse(all)
		rows = slices.Values(all)
	}
	items := make([]Item, 0, min(c.opts.perPage, 64))
	for row := range rows {
		k := key(row)
		if c.opts.nextToken != "" && (k < from && !c.opts.reverse || k > from && c.opts.reverse) {
			continue
		}
		it := item(row)
		if ok, err := keep(&it, row); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if len(items) == c.opts.perPage {
			c.nextToken = url.PathEscape(k)
			break
		}
		items = append(items, it)
	}
	return items, nil
}

// keeps is the filter of a request: everything without one.
func keeps[Row, Item any](c *call) (func(*Item, *Row) (bool, error), error) {
	if c.opts.filter == "" {
		return func(*Item, *Row) (bool, error) { return true, nil }, nil
	}
	f, err := newFilter(c.opts.filter, reflect.TypeFor[*Item](), reflect.TypeFor[*Row]())
	if err != nil {
		return nil, err
	}
	began, seen := time.Now(), 0
	return func(it *Item, row *Row) (bool, error) {
		if seen++; seen%256 == 0 && (c.ctx.Err() != nil || time.Since(began) > maxFilterTime) {
			return false, NewError(CodeTimeout, "narrow the list by prefix or namespace, or make the filter simpler",
				"the filter took longer than %s for the first %d items", maxFilterTime, seen)
		}
		return f.matches(it, row)
	}, nil
}

// These are the keys of tables, in the order that the tables have.
func jobKeyOf(j *state.Job) string     { return j.Namespace + "\x00" + j.ID }
func nodeKeyOf(n *state.Node) string   { return n.ID }
func allocKeyOf(a *state.Alloc) string { return a.ID }

// byAllocID yields allocations in the order of their IDs, as pages need them; the state has those of a job or node in the order in which
// they were placed.
func byAllocID(rows iter.Seq[*state.Alloc]) iter.Seq[*state.Alloc] {
	return func(yield func(*state.Alloc) bool) {
		sorted := slices.SortedFunc(rows, func(a, b *state.Alloc) int { return strings.Compare(a.ID, b.ID) })
		for _, a := range sorted {
			if !yield(a) {
				return
			}
		}
	}
}

// filtered yields the rows that keep keeps.
func filtered[Row any](rows iter.Seq[Row], keep func(Row) bool) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for row := range rows {
			if keep(row) && !yield(row) {
				return
			}
		}
	}
}
