package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// reader is a command that reads: any server answers it when there is no leader, and the answer is marked as old. With --watch it
// reads again whenever what it showed has changed; see watch.
type reader struct {
	app      *app
	stale    bool
	watching bool // --watch
	filter   string

	marked bool
	seen   uint64 // index that the first read of this round answered
	since  uint64 // the next read waits for something newer; 0: it does not wait
}

// addFlags gives a command --stale and --watch. It comes after the command's RunE is set: that is what --watch repeats.
func (r *reader) addFlags(cmd *cobra.Command) {
	r.addStale(cmd)
	r.addWatch(cmd)
}

// addWatch is addFlags of a command that only its machine can answer.
func (r *reader) addWatch(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&r.watching, "watch", "w", false, "show it again whenever it changes, until interrupted; where the output is no terminal only lines that are new")
	show := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !r.watching {
			return show(cmd, args)
		}
		return r.watch(cmd.Context(), forPrograms(cmd), func(ctx context.Context) error {
			cmd.SetContext(ctx)
			return show(cmd, args)
		})
	}
}

// addStale is addFlags of a command that does not watch.
func (r *reader) addStale(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.stale, "stale", false, "let any server answer, at once; without it that happens when no leader answers")
}

// fetch reads, from any server when there is no leader.
func fetch[T any](r *reader, q api.QueryOptions, read func(q api.QueryOptions) (T, api.QueryMeta, error)) (T, error) {
	q.Stale, q.Index = r.stale, r.since
	r.since = 0 // one read of a round waits; the others show what it saw, or newer
	out, meta, err := read(q)
	if errors.Is(err, api.ErrNoLeader) && !r.stale {
		r.stale, q.Stale = true, true // the next reads of this command need not wait for a leader again
		old, oldMeta, serr := read(q)
		if serr != nil {
			return out, err // that there is no leader says more
		}
		out, meta, err = old, oldMeta, nil
	}
	if r.seen == 0 {
		r.seen = meta.Index
	}
	if err == nil && r.stale && !meta.KnownLeader && !r.marked {
		r.marked = true
		r.app.marked(meta)
	}
	return out, err
}

// find reads what a prefix names.
func find[T any](ctx context.Context, r *reader, q api.QueryOptions, prefix string, one func(context.Context, string, api.QueryOptions) (T, error)) (T, error) {
	since := r.since
	out, err := fetch(r, q, func(q api.QueryOptions) (T, api.QueryMeta, error) {
		q.Index = 0
		out, err := one(ctx, prefix, q)
		return out, api.QueryMeta{KnownLeader: true}, err // what is read next tells where it comes from
	})
	r.since = since // and waits
	return out, err
}

// fetchAll reads every page of a list.
func fetchAll[T any](ctx context.Context, r *reader, q api.QueryOptions, list func(context.Context, api.QueryOptions) ([]T, api.QueryMeta, error)) ([]T, error) {
	return fetch(r, q, func(q api.QueryOptions) ([]T, api.QueryMeta, error) {
		var first uint64 // a change that comes between two pages must wake the next look
		all, meta, err := api.All(ctx, func(ctx context.Context, q api.QueryOptions) ([]T, api.QueryMeta, error) {
			page, meta, err := list(ctx, q)
			if first == 0 {
				first = meta.Index
			}
			return page, meta, err
		}, q)
		meta.Index = first
		return all, meta, err
	})
}
