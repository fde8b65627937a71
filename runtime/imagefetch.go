package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/state"
)

const (
	// blobIdle is how long a holder may pause within a blob: of a machine that is gone nothing ever comes.
	blobIdle = 10 * time.Second
	// fetchFirst and fetchMax bound the pause after a round in which no holder gave anything.
	fetchFirst = 500 * time.Millisecond
	fetchMax   = 10 * time.Second
	// fetchChunk is how much is read at a time.
	fetchChunk = 256 << 10
)

// BlobSink is where a blob is written to. What was written stays when a source is cut off, so that the next one goes on there.
type BlobSink interface {
	io.Writer
	// Offset is how many bytes have been written.
	Offset() (int64, error)
	// Reset forgets what was written.
	Reset(ctx context.Context) error
	// Commit finishes the blob, once all of it is written. ErrBadImage: it is not what its digest says.
	Commit(ctx context.Context) error
}

// sinkError is a failure of this machine, not of a holder.
type sinkError struct{ error }

// Unwrap is the failure.
func (e sinkError) Unwrap() error { return e.error }

// ImageFetch copies the content of one image from its holders. One that gives nothing, breaks off or lies is followed by the next;
// what has arrived is kept. Blob may be called from several goroutines.
type ImageFetch struct {
	Source ImageSource
	Image  *ClusterImage
	Stall  time.Duration   // give up when no byte arrives for so long
	Moved  func(bytes int) // bytes that arrived; may be nil
	Logger hclog.Logger    // nil means none

	mu     sync.Mutex
	from   []ImageHolder
	failed map[string]time.Time // node ID → when it last failed
	liars  map[string]bool      // node ID and digest that gave other content than asked for
	alive  time.Time            // when a byte last arrived
}

// Blob copies one blob of size bytes.
func (f *ImageFetch) Blob(ctx context.Context, digest string, size int64, to BlobSink) error {
	f.begin()
	wait := fetchFirst
	for {
		var failures []string
		for _, h := range f.order(digest) {
			before := f.lastByte()
			err := f.copyFrom(ctx, h, digest, size, to)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.As(err, new(sinkError)) {
				return fmt.Errorf("fetch %s of image %s: %w", state.ShortDigest(digest), f.name(), err)
			}
			if f.lastByte().After(before) {
				wait = fetchFirst
			}
			f.note(h, err)
			if f.Logger != nil {
				f.Logger.Debug("a machine does not give a part of an image", "image", f.name(), "part", digest, "node", h.Name, "error", err)
			}
			failures = append(failures, fmt.Sprintf("%s: %v", h.Name, err))
		}
		if since := time.Since(f.lastByte()); since >= f.Stall {
			return fmt.Errorf("fetch %s of image %s: nothing came for %s: %s", state.ShortDigest(digest), f.name(), since.Round(time.Second), f.why(failures))
		}
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil { // not all who wait come back at the same time
			return err
		}
		wait = min(2*wait, fetchMax)
		if err := f.refresh(ctx); err != nil {
			return err
		}
	}
}

func (f *ImageFetch) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive.IsZero() {
		f.alive, f.from = time.Now(), f.Image.From
		f.failed, f.liars = map[string]time.Time{}, map[string]bool{}
	}
}

// order is whom to ask: machines that are up before those that the cluster calls down, those that just failed last, and among
// equals by chance, so that the load is spread.
func (f *ImageFetch) order(digest string) []ImageHolder {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ranks [3][]ImageHolder
	for _, i := range rand.Perm(len(f.from)) {
		h := f.from[i]
		rank := 0
		switch {
		case f.liars[h.NodeID+digest]:
			continue
		case !h.Up:
			rank = 2
		case !f.failed[h.NodeID].IsZero():
			rank = 1
		}
		ranks[rank] = append(ranks[rank], h)
	}
	return append(append(ranks[0], ranks[1]...), ranks[2]...)
}

func (f *ImageFetch) lastByte() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive
}

// note remembers who failed. One that is busy did nothing wrong.
func (f *ImageFetch) note(h ImageHolder, err error) {
	if errors.Is(err, ErrHolderBusy) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed[h.NodeID] = time.Now()
}

// refresh asks the cluster who has the image now: others may have got it meanwhile.
func (f *ImageFetch) refresh(ctx context.Context) error {
	img, err := f.Source.FindImage(ctx, f.Image.Digest)
	if err != nil {
		return nil // the old list will do
	}
	if img == nil {
		return fmt.Errorf("fetch image %s: it was removed from the cluster: %w", f.name(), ErrNotRetryable)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = img.From
	for id, at := range f.failed {
		if time.Since(at) > fetchMax {
			delete(f.failed, id)
		}
	}
	return nil
}

func (f *ImageFetch) name() string {
	if len(f.Image.Names) > 0 {
		return f.Image.Names[0]
	}
	return state.ShortDigest(f.Image.Digest)
}

// why is what the last round met.
func (f *ImageFetch) why(failures []string) string {
	if len(failures) == 0 {
		return "no machine that has it is left"
	}
	return strings.Join(failures, "; ")
}

// copyFrom copies what is missing of a blob from one holder, and finishes the blob when that was all.
func (f *ImageFetch) copyFrom(ctx context.Context, h ImageHolder, digest string, size int64, to BlobSink) error {
	offset, err := to.Offset()
	if err == nil && offset > size {
		offset, err = 0, to.Reset(ctx)
	}
	if err != nil {
		return sinkError{err}
	}
	if offset < size {
		if err := f.read(ctx, h, digest, offset, size, to); err != nil {
			return err
		}
	}
	err = to.Commit(ctx)
	switch {
	case errors.Is(err, ErrBadImage):
		f.lied(h, digest, offset)
		if failed := to.Reset(ctx); failed != nil {
			return sinkError{failed}
		}
		return err
	case err != nil:
		return sinkError{err}
	}
	return nil
}

// lied keeps a holder from being asked for the blob again. When others gave the beginning nobody can tell whose fault it is.
func (f *ImageFetch) lied(h ImageHolder, digest string, offset int64) {
	if offset > 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.liars[h.NodeID+digest] = true
}

// read copies from offset to the end. A holder that pauses for too long is given up.
func (f *ImageFetch) read(ctx context.Context, h ImageHolder, digest string, offset, size int64, to BlobSink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(blobIdle, func() { cancel(fmt.Errorf("nothing came for %s", blobIdle)) })
	defer idle.Stop()
	body, err := f.Source.ReadBlob(ctx, h, digest, offset)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer func() { _ = body.Close() }() // what it gave was read
	buf := make([]byte, fetchChunk)
	for offset < size {
		idle.Reset(blobIdle)
		n, err := body.Read(buf[:min(int64(len(buf)), size-offset)])
		if n > 0 {
			idle.Stop() // writing is this machine's own business
			if _, err := to.Write(buf[:n]); err != nil {
				return sinkError{err}
			}
			offset += int64(n)
			f.moved(n)
		}
		if err != nil && offset < size {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return causeOf(ctx, fmt.Errorf("after %d of %d bytes: %w", offset, size, err))
		}
	}
	return nil
}

// causeOf is why ctx ended, or err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (f *ImageFetch) moved(n int) {
	f.mu.Lock()
	f.alive = time.Now()
	f.mu.Unlock()
	if f.Moved != nil {
		f.Moved(n)
	}
}
