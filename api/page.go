package api

import (
	"iter"
	"net/url"

	"github.com/drover-io/drover/state"
)

// page turns the rows of a list into one page of items. The rows come in the order of their keys; a page begins at the key
// that the page before answered as its next token.
func page[Row, Item any](c *call, rows iter.Seq[Row], key func(Row) string, item func(Row) Item) ([]Item, error) {
	from, err := url.PathUnescape(c.opts.nextToken)
	if err != nil {
		return nil, NewError(CodeInvalid, "pass on the next token of the page before", "next_token %q is none", c.opts.nextToken)
	}
	items := make([]Item, 0, min(c.opts.perPage, 64))
	for row := range rows {
		k := key(row)
		if k < from {
			continue
		}
		if len(items) == c.opts.perPage {
			c.nextToken = url.PathEscape(k)
			break
		}
		items = append(items, item(row))
	}
	return items, nil
}

// These are the keys of tables, in the order that the tables have.
func jobKeyOf(j *state.Job) string     { return j.Namespace + "\x00" + j.ID }
func nodeKeyOf(n *state.Node) string   { return n.ID }
func allocKeyOf(a *state.Alloc) string { return a.ID }

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
