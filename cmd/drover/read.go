package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// reader is a command that reads: any server answers it when there is no leader, and the answer is marked as old.
type reader struct {
	app    *app
	stale  bool
	marked bool
}

func (r *reader) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.stale, "stale", false, "let any server answer, at once; without it that happens when no leader answers")
}

// fetch reads, from any server when there is no leader.
func fetch[T any](r *reader, q api.QueryOptions, read func(q api.QueryOptions) (T, api.QueryMeta, error)) (T, error) {
	q.Stale = r.stale
	out, meta, err := read(q)
	if errors.Is(err, api.ErrNoLeader) && !r.stale {
		r.stale, q.Stale = true, true // the next reads of this command need not wait for a leader again
		old, oldMeta, serr := read(q)
		if serr != nil {
			return out, err // that there is no leader says more
		}
		out, meta, err = old, oldMeta, nil
	}
	if err == nil && r.stale && !meta.KnownLeader && !r.marked {
		r.marked = true
		r.app.marked(meta)
	}
	return out, err
}

// find reads what a prefix names.
func find[T any](ctx context.Context, r *reader, q api.QueryOptions, prefix string, one func(context.Context, string, api.QueryOptions) (T, error)) (T, error) {
	return fetch(r, q, func(q api.QueryOptions) (T, api.QueryMeta, error) {
		out, err := one(ctx, prefix, q)
		return out, api.QueryMeta{KnownLeader: true}, err // what is read next tells where it comes from
	})
}

// fetchAll reads every page of a list.
func fetchAll[T any](ctx context.Context, r *reader, q api.QueryOptions, list func(context.Context, api.QueryOptions) ([]T, api.QueryMeta, error)) ([]T, error) {
	return fetch(r, q, func(q api.QueryOptions) ([]T, api.QueryMeta, error) { return api.All(ctx, list, q) })
}
