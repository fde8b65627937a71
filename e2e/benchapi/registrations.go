package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/state"
)

const (
	// minRegistrations is what 64 clients must reach, a second. etcd's puts in the same run are the other bound.
	minRegistrations = 3000
	// boundClients is how many clients the bounds are for.
	boundClients = 64
	// rounds is how often in a run each of the two has two turns of half of the time that other loads last.
	rounds = 2
	// prefix begins the ID of every job that is registered to be counted.
	prefix = "api-"
)

// numbers makes IDs that are all of one length.
type numbers struct {
	mu sync.Mutex
	n  int
}

func (n *numbers) next() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n++
	return n.n
}

func (n *numbers) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.n
}

// registrar is one user who registers one new job after the other at one server.
type registrar struct {
	w       *wire
	jobs    *numbers
	request []byte
	places  []int // where the number stands in the request
	body    int   // where its body begins
}

// numberDigits is how long a number in an ID is.
const numberDigits = 9

// newRequest is a registration whose number is to be filled in at the places. The job has no copies: what is measured is how it gets
// into the state of three servers, not where it runs.
func newRequest(host string) (request []byte, places []int, body int, err error) {
	job := fleet.Job("api", "plain", 0, 0)
	mark := strings.Repeat("#", numberDigits)
	job.ID, job.Name = prefix+mark, prefix+mark
	text, err := json.Marshal(&api.JobRegisterRequest{Job: job})
	if err != nil {
		return nil, nil, 0, err
	}
	request = fmt.Appendf(nil, "PUT /v1/jobs HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Drover-Request-Id: request-%s\r\nContent-Length: %d\r\n\r\n",
		host, mark, len(text))
	body = len(request)
	request = append(request, text...)
	for at := 0; ; {
		i := bytes.Index(request[at:], []byte(mark))
		if i < 0 {
			return request, places, body, nil
		}
		places = append(places, at+i)
		at += i + numberDigits
	}
}

// number fills in a number.
func number(request []byte, places []int, n int) {
	text := fmt.Appendf(nil, "%0*d", numberDigits, n)
	for _, at := range places {
		copy(request[at:], text)
	}
}

func newRegistrar(ctx context.Context, s *fleet.Server, jobs *numbers) (*registrar, error) {
	host := s.HTTP()
	r := &registrar{jobs: jobs}
	var err error
	if r.request, r.places, r.body, err = newRequest(host); err != nil {
		return nil, err
	}
	r.w, err = dial(ctx, host, 4096)
	return r, err
}

func (r *registrar) do(context.Context) error {
	number(r.request, r.places, r.jobs.next())
	a, err := r.w.ask(r.request)
	if err == nil && a.index == 0 {
		err = errors.New("a registration was acknowledged without an index")
	}
	return err
}

func (r *registrar) close() { r.w.close() }

// beside is three servers, and three members of etcd unless they are left out.
type beside struct {
	options
	servers fleet.Servers
	etcd    *etcd
	jobs    numbers // registered so far
	puts    numbers
	size    int // bytes of a body
}

// measureRegistrations has users register jobs with the servers, and others put values of the same size into etcd, in turn.
func measureRegistrations(ctx context.Context, o options) (out []*figure, err error) {
	b := &beside{options: o}
	if b.servers, err = fleet.StartServers(ctx, o.drover, o.dir, 3, o.raft); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.servers.Close()) }()
	if o.etcd != "" {
		if b.etcd, err = startEtcd(ctx, o.etcd, o.dir); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.etcd.close()) }()
	}
	request, _, body, err := newRequest("")
	if err != nil {
		return nil, err
	}
	b.size = len(request) - body
	for _, n := range o.clients {
		figures, err := b.measure(ctx, n)
		if err != nil {
			return nil, err
		}
		out = append(out, figures...)
	}
	twin, err := b.check(ctx)
	return append(out, twin), err
}

// measure is one number of clients, all runs.
func (b *beside) measure(ctx context.Context, n int) ([]*figure, error) {
	regs := &figure{name: fmt.Sprintf("registrations-%d", n), unit: "1/s"}
	puts := &figure{name: fmt.Sprintf("etcd-puts-%d", n), unit: "1/s"}
	ratio := &figure{name: fmt.Sprintf("registrations-%d-to-etcd", n), unit: "x"}
	if n == boundClients {
		regs.sense, regs.bound, ratio.sense, ratio.bound = atLeast, minRegistrations, atLeast, 1
	}
	var mine, theirs []result
	for range b.runs {
		stop := b.profile(ctx, b.servers, regs.name, warmUp+b.lasts/2) // of the first turn
		r, p, err := b.inTurn(ctx, n)
		if err = errors.Join(err, stop()); err != nil {
			return nil, fmt.Errorf("register jobs and put into etcd: %w", err)
		}
		mine, regs.values = append(mine, r), append(regs.values, r.rate())
		if b.etcd != nil {
			theirs, puts.values, ratio.values = append(theirs, p), append(puts.values, p.rate()), append(ratio.values, r.rate()/p.rate())
		}
	}
	describe(regs, n, mine)
	regs.add("body_bytes", b.size)
	regs.add("through", "all three servers, so two thirds are passed on to the leader")
	if b.etcd == nil {
		return []*figure{regs}, nil
	}
	describe(puts, n, theirs)
	puts.add("value_bytes", b.size)
	puts.add("etcd", b.etcd.version)
	return []*figure{regs, puts, ratio}, nil
}

// inTurn is a run: the first and the last of each four turns is Drover's. A machine that others use is quicker by a third a minute later, so
// that a whole run of the one beside a whole run of the other compared the minutes.
func (b *beside) inTurn(ctx context.Context, n int) (mine, theirs result, err error) {
	register := func() error {
		return mine.more(load(ctx, n, b.lasts/2, b.registrar, timeOf(b.servers)))
	}
	put := func() error {
		return theirs.more(load(ctx, n, b.lasts/2, b.putter, b.etcd.used))
	}
	order := []func() error{register, put, put, register}
	if b.etcd == nil {
		order = []func() error{register, register}
	}
	for _, turn := range slices.Repeat(order, rounds) {
		if err := turn(); err != nil {
			return mine, theirs, err
		}
	}
	return mine, theirs, nil
}

// registrar is one user of the servers, see newRegistrar.
func (b *beside) registrar(ctx context.Context, i int) (client, error) {
	return newRegistrar(ctx, b.servers[i%len(b.servers)], &b.jobs)
}

// describe adds what the runs cost.
func describe(f *figure, clients int, runs []result) {
	var p50, p99, cpu, own []float64
	for _, r := range runs {
		p50, p99 = append(p50, part(r.times, 0.5)), append(p99, part(r.times, 0.99))
		cpu, own = append(cpu, r.perUnit(r.cpu)), append(own, r.perUnit(r.own))
	}
	f.add("clients", clients)
	f.add("p50_ms", round(median(p50)))
	f.add("p99_ms", round(median(p99)))
	f.add("servers_cpu_us", round(median(cpu)))
	f.add("clients_cpu_us", round(median(own)))
}

// putter is one user of etcd who puts one new value after the other: what the body of a registration is.
func (b *beside) putter(_ context.Context, i int) (client, error) {
	c, err := b.etcd.client(i % len(b.etcd.members))
	if err != nil {
		return nil, err
	}
	request, places, body, err := newRequest("")
	if err != nil {
		return nil, err
	}
	c.next = func() (key, value []byte) {
		n := b.puts.next()
		number(request, places, n)
		return fmt.Appendf(nil, "%s%0*d", prefix, numberDigits, n), request[body:]
	}
	return c, nil
}

// check is the twin of the rates: every acknowledged job is there once, and all servers hold the same; the same of etcd's keys.
func (b *beside) check(ctx context.Context) (*figure, error) {
	f := &figure{name: "registrations-wrong", unit: "jobs", sense: atMost}
	views, err := b.servers.WaitQuiet(ctx, time.Minute, time.Second)
	if err != nil {
		return nil, err
	}
	if differs := fleet.Differences(views); len(differs) > 0 {
		f.broken = fmt.Sprintf("the servers do not hold the same: %v", differs)
	}
	leader, err := b.servers.Leader(ctx)
	if err != nil {
		return nil, err
	}
	wrong, seen := 0, make([]int, b.jobs.count()+1)
	err = fleet.Pages(func(q api.QueryOptions) ([]api.JobListItem, api.QueryMeta, error) { return leader.API.Jobs(ctx, q) }, func(j api.JobListItem) {
		var n int
		_, err := fmt.Sscanf(strings.TrimPrefix(j.ID, prefix), "%d", &n)
		if err != nil || n < 1 || n >= len(seen) || j.Version != 0 {
			wrong++ // nobody asked for it, or it was done twice
			return
		}
		seen[n]++
	})
	if err != nil {
		return nil, err
	}
	for _, n := range seen[1:] {
		if n != 1 {
			wrong++
		}
	}
	f.values = []float64{float64(wrong)}
	f.add("acknowledged", b.jobs.count())
	f.add("hashes_equal", f.broken == "")
	f.add("rows", rows(views, state.TableJobs))
	return f, b.checkEtcd(ctx, f)
}

// rows is how many rows of a table each server has.
func rows(views []*api.StateView, t state.Table) []int {
	var out []int
	for _, v := range views {
		out = append(out, v.Rows(t.String()))
	}
	return out
}

func (b *beside) checkEtcd(ctx context.Context, f *figure) error {
	if b.etcd == nil {
		return nil
	}
	var keys []uint64
	for i := range b.etcd.members {
		n, err := b.etcd.keys(ctx, i, prefix)
		if err != nil {
			return fmt.Errorf("count the keys of etcd: %w", err)
		}
		if keys = append(keys, n); n != uint64(b.puts.count()) {
			f.broken = fmt.Sprintf("etcd acknowledged %d puts and has %d keys", b.puts.count(), n)
		}
	}
	f.add("etcd_keys", keys)
	return nil
}
