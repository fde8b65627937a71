package containerd

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

// pullState is one download: what it needs, what it has touched, and what the registry asked for.
type pullState struct {
	ref      string
	registry string // the image's
	auth     credentials
	softFail bool
	stall    time.Duration

	mu         sync.Mutex
	parts      map[digest.Digest]ocispec.Descriptor // manifests, configuration and layers seen so far
	refs       []string                             // of their downloads in containerd
	retryAfter time.Duration
	mirrors    map[string]bool // hosts of mirrors that gave something during this attempt
	shaky      map[string]bool // hosts of mirrors that an attempt failed with: they are asked last
}

func newPullState(ref, registry string, o options, stall time.Duration) *pullState {
	return &pullState{ref: ref, registry: registry, auth: o.Auth, softFail: o.AuthSoftFail, stall: stall, parts: map[digest.Digest]ocispec.Descriptor{}}
}

// handle is told of each part before it is fetched.
func (p *pullState) handle(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.parts[desc.Digest]; !ok {
		p.parts[desc.Digest] = desc
		p.refs = append(p.refs, remotes.MakeRefKey(ctx, desc))
	}
	return nil, nil
}

// abort throws away what is half done.
func (p *pullState) abort(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, ref := range p.known() {
		// Most are complete and have nothing left over, and an error here shows again at the next attempt.
		_ = s.ContentStore().Abort(ctx, ref)
	}
}

func (p *pullState) known() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.refs...)
}

// progress counts the bytes that are here and the bytes of all parts that are known.
func (p *pullState) progress(ctx context.Context, s *session) (done, total int64) {
	p.mu.Lock()
	parts := make([]ocispec.Descriptor, 0, len(p.parts))
	for _, desc := range p.parts {
		parts = append(parts, desc)
	}
	p.mu.Unlock()
	cs := s.ContentStore()
	for _, desc := range parts {
		total += desc.Size
		if st, err := cs.Status(ctx, remotes.MakeRefKey(ctx, desc)); err == nil {
			done += min(st.Offset, desc.Size)
		} else if _, err := cs.Info(ctx, desc.Digest); err == nil {
			done += desc.Size
		}
	}
	return done, total
}

func (p *pullState) takeRetryAfter() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.retryAfter
	p.retryAfter = 0
	return d
}

func (p *pullState) noteRetryAfter(resp *http.Response) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds <= 0 || seconds > 24*60*60 {
		return
	}
	p.mu.Lock()
	p.retryAfter = max(p.retryAfter, time.Duration(seconds)*time.Second)
	p.mu.Unlock()
}

// pullBoard knows the downloads that are under way, by reference.
type pullBoard struct {
	mu   sync.Mutex
	runs map[string]*pullState
}

func (b *pullBoard) begin(p *pullState) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs == nil {
		b.runs = map[string]*pullState{}
	}
	b.runs[p.ref] = p
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.runs[p.ref] == p {
			delete(b.runs, p.ref)
		}
	}
}

func (b *pullBoard) find(ref string) *pullState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[ref]
}

// PullProgress says how much of a task's image has arrived, while it is being fetched.
func (d *Driver) PullProgress(ctx context.Context, spec runtime.TaskSpec) (done, total int64, ok bool) {
	name, _ := spec.Config["image"].(string)
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return 0, 0, false
	}
	p := d.pulls.find(named.String())
	if p == nil {
		return 0, 0, false
	}
	s, ctx, err := d.session(ctx)
	if err != nil {
		return 0, 0, false
	}
	done, total = p.progress(ctx, s)
	return done, total, total > 0
}

// served notes that a mirror answered.
func (p *pullState) served(mirror string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mirrors == nil {
		p.mirrors = map[string]bool{}
	}
	p.mirrors[mirror] = true
}

// failed ends an attempt. When it got nowhere, the mirrors that took part in it come after the registry from now on: one that hangs,
// or gives wrong bytes, would do so again.
func (p *pullState) failed(nowhere bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if nowhere {
		p.shaky = p.mirrors
	}
	p.mirrors = nil
}

func (p *pullState) isShaky(mirror string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shaky[mirror]
}
