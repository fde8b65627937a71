package containerd

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pullState is one download: what it needs, what it has touched, and what the registry asked for.
type pullState struct {
	ref      string
	registry string // the image's
	auth     credentials
	softFail bool
	stall    time.Duration

	transfer

	mu         sync.Mutex
	retryAfter time.Duration
	mirrors    map[string]bool // hosts of mirrors that gave something during this attempt
	shaky      map[string]bool // hosts of mirrors that an attempt failed with: they are asked last
}

func newPullState(ref, registry string, o options, stall time.Duration) *pullState {
	return &pullState{ref: ref, registry: registry, auth: o.Auth, softFail: o.AuthSoftFail, stall: stall}
}

// handle is told of each part before it is fetched.
func (p *pullState) handle(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	p.note(desc, remotes.MakeRefKey(ctx, desc))
	return nil, nil
}

// abort throws away what is half done.
func (p *pullState) abort(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, ref := range p.refs() {
		// Most are complete and have nothing left over, and an error here shows again at the next attempt.
		_ = s.ContentStore().Abort(ctx, ref)
	}
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
	wait := retryAfter(resp.Header.Get("Retry-After"))
	p.mu.Lock()
	p.retryAfter = max(p.retryAfter, wait)
	p.mu.Unlock()
}

// retryAfter reads what a registry says of when to come back: seconds, or a date. 0 means nothing that makes sense.
func retryAfter(text string) time.Duration {
	const longest = 24 * time.Hour
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = time.Until(at)
	}
	if wait < 0 || wait > longest {
		return 0
	}
	return wait
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
