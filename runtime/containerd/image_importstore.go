package containerd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/drover-io/drover/runtime"
)

// importStore is the content store as an import sees it: everything is written under names of its own, so that neither another
// import nor what one that failed left behind gets mixed in.
type importStore struct {
	content.Store
	prefix string

	mu     sync.Mutex
	refs   []string
	bytes  int64 // written
	failed error // the store's, not the archive's
}

// grow counts what is written.
func (i *importStore) grow(n int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.bytes += int64(n); i.bytes > runtime.MaxImageBytes {
		return fmt.Errorf("%w: it unpacks to more than %d GiB", runtime.ErrBadImage, runtime.MaxImageBytes>>30)
	}
	return nil
}

// digestName is how archives name a file by its content.
var digestName = regexp.MustCompile(`^(?:blobs/sha256/([0-9a-f]{64})|sha256:([0-9a-f]{64})|([0-9a-f]{64})\.json)$`)

// Writer begins one file of the archive.
func (i *importStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	i.mu.Lock()
	n := len(i.refs)
	ref := fmt.Sprintf("%s%d", i.prefix, n)
	i.refs = append(i.refs, ref)
	i.mu.Unlock()
	if n >= importEntries {
		return nil, fmt.Errorf("%w: it has more than %d files", runtime.ErrBadImage, importEntries)
	}
	w, err := i.Store.Writer(ctx, append(opts, content.WithRef(ref))...)
	if err != nil {
		return nil, i.note(err)
	}
	out := &importWriter{Writer: w, store: i, file: strings.TrimPrefix(o.Ref, "tar-")}
	if m := digestName.FindStringSubmatch(path.Clean(out.file)); m != nil {
		out.want = digest.NewDigestFromEncoded(digest.SHA256, m[1]+m[2]+m[3])
	}
	return out, nil
}

// note remembers a failure of the store.
func (i *importStore) note(err error) error {
	if err == nil || errdefs.IsAlreadyExists(err) {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed == nil {
		i.failed = err
	}
	return err
}

// blame says whose fault an import's failure is.
func (i *importStore) blame(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed != nil && !errors.Is(i.failed, context.Canceled) {
		return explain(i.failed, "import image: write its content")
	}
	if isAway(err) {
		return explain(err, "import image")
	}
	return fmt.Errorf("import image: %w", err)
}

// abort throws away what was half written.
func (i *importStore) abort(ctx context.Context) {
	i.mu.Lock()
	refs := slices.Clone(i.refs)
	i.mu.Unlock()
	for _, ref := range refs {
		_ = i.Abort(ctx, ref) // most are complete and have nothing left over
	}
}

// importWriter is one file of an archive.
type importWriter struct {
	content.Writer
	store *importStore
	file  string
	want  digest.Digest // by the file's name
}

// Write writes, and remembers when it is the store that cannot.
func (w *importWriter) Write(p []byte) (int, error) {
	if err := w.store.grow(len(p)); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	return n, w.store.note(err)
}

// Commit refuses a file that is not what its name says.
func (w *importWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	if expected == "" {
		expected = w.want
	}
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err == nil || errdefs.IsAlreadyExists(err) {
		return err
	}
	if w.want != "" && errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("%w: the file %s in it is not what its name says: it is damaged", runtime.ErrBadImage, w.file)
	}
	return w.store.note(err)
}
