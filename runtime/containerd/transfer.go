package containerd

import (
	"context"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// transfer is an image on its way to this machine, from a registry or from other machines.
type transfer struct {
	lease string // of a download from a registry, in containerd

	partsMu sync.Mutex
	parts   map[digest.Digest]transferPart // manifests, configuration and layers seen so far
	whole   int64                          // bytes of the image; 0 means those of all parts
}

// transferPart is a part of an image and the name that its download has in containerd.
type transferPart struct {
	size int64
	ref  string
}

// note remembers a part that is about to be fetched.
func (t *transfer) note(desc ocispec.Descriptor, ref string) {
	t.partsMu.Lock()
	defer t.partsMu.Unlock()
	if t.parts == nil {
		t.parts = map[digest.Digest]transferPart{}
	}
	t.parts[desc.Digest] = transferPart{desc.Size, ref}
}

func (t *transfer) seen() map[digest.Digest]transferPart {
	t.partsMu.Lock()
	defer t.partsMu.Unlock()
	out := make(map[digest.Digest]transferPart, len(t.parts))
	for d, p := range t.parts {
		out[d] = p
	}
	return out
}

// refs are the names of the downloads.
func (t *transfer) refs() []string {
	var out []string
	for _, p := range t.seen() {
		out = append(out, p.ref)
	}
	return out
}

// progress counts the bytes that are here and those of the image, as far as is known.
func (t *transfer) progress(ctx context.Context, s *session) (done, total int64) {
	cs := s.ContentStore()
	for dgst, p := range t.seen() {
		total += p.size
		if st, err := cs.Status(ctx, p.ref); err == nil {
			done += min(st.Offset, p.size)
		} else if _, err := cs.Info(ctx, dgst); err == nil {
			done += p.size
		}
	}
	return done, max(total, t.whole)
}

// transferBoard knows the images that are on their way, by each of their names.
type transferBoard struct {
	mu   sync.Mutex
	runs map[string]*transfer
}

// begin lists a transfer until end is called. A later one of the same name takes its place.
func (b *transferBoard) begin(t *transfer, names ...string) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs == nil {
		b.runs = map[string]*transfer{}
	}
	for _, name := range names {
		b.runs[name] = t
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, name := range names {
			if b.runs[name] == t {
				delete(b.runs, name)
			}
		}
	}
}

func (b *transferBoard) find(name string) *transfer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[name]
}

// busy are the names in containerd of all downloads that are under way, and of their leases.
func (b *transferBoard) busy() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	for _, t := range b.runs {
		out[t.lease] = true
		for _, ref := range t.refs() {
			out[ref] = true
		}
	}
	return out
}

// PullProgress says how much of a task's image has arrived, while it is being fetched.
func (d *Driver) PullProgress(ctx context.Context, spec runtime.TaskSpec) (done, total int64, ok bool) {
	name, _ := spec.Config["image"].(string)
	var t *transfer
	if named, err := reference.ParseDockerRef(name); err == nil {
		t = d.pulls.find(named.String()) // from a registry
	}
	if ref, err := state.ParseImage(name); err == nil && t == nil {
		if t = d.pulls.find(ref.Digest); t == nil && ref.Digest == "" {
			t = d.pulls.find(ref.Name) // from other machines
		}
	}
	if t == nil {
		return 0, 0, false
	}
	s, ctx, err := d.session(ctx)
	if err != nil {
		return 0, 0, false
	}
	done, total = t.progress(ctx, s)
	return done, total, total > 0
}
