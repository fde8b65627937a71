package runtime

import (
	"context"
	"errors"
	"io"

	"github.com/drover-io/drover/state"
)

// Errors of images that travel between machines. They are wrapped with the image's name; test with errors.Is.
var (
	// ErrBadImage says that an archive is no image, is cut off or damaged, or holds what cannot be taken in.
	ErrBadImage = errors.New("not a usable image")
	// ErrNoContent says that a machine does not have, or does not give away, the content asked for.
	ErrNoContent = errors.New("content not there")
	// ErrHolderBusy says that a holder serves as many as it may already. Another one, or a moment later, may do.
	ErrHolderBusy = errors.New("holder busy")
)

// ImageStore is what a driver implements that keeps images which were imported into the cluster, and gives them to other
// machines. Its methods may be called from any goroutine.
type ImageStore interface {
	// UseImages hands in the way to the rest of the cluster: from then on an image that the cluster knows is fetched from its
	// holders. It is called once, before any task starts.
	UseImages(src ImageSource)
	// ImportImage reads an archive to its end and keeps the images in it under the name, or, when that is "", the names that the
	// archive has. On an error nothing of it is left. ErrBadImage: the archive's fault. The rows have no holders yet.
	ImportImage(ctx context.Context, archive io.Reader, name string) ([]state.Image, error)
	// NoteImage keeps with an image what the cluster says of it, so that it is known again when the cluster has forgotten it.
	NoteImage(ctx context.Context, img state.Image) error
	// HeldImages lists the images that are whole on this machine, as they were last noted.
	HeldImages(ctx context.Context) ([]state.Image, error)
	// FetchImage makes an image whole on this machine, from its holders. Who asks for the same image meanwhile shares the work.
	FetchImage(ctx context.Context, img *ClusterImage) error
	// DropImage removes an image; what runs from it runs on. No error when it is not there.
	DropImage(ctx context.Context, digest string) error
	// OpenBlob opens a part of an image that is whole on this machine. ErrNoContent for anything else.
	OpenBlob(ctx context.Context, digest string) (Blob, error)
}

// ImageResolver is what a driver implements that can ask a registry what a tag means now.
type ImageResolver interface {
	// ResolveImage is the digest of the image that a task's configuration names, by the registry's word.
	ResolveImage(ctx context.Context, config map[string]any) (digest string, err error)
}

// Blob is one piece of content.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// ClusterImage is an image as the cluster knows it, and where to get it.
type ClusterImage struct {
	state.Image
	From []ImageHolder
}

// ImageHolder is a machine that has all of an image.
type ImageHolder struct {
	NodeID string
	Name   string
	Addr   string // of its agent's peer listener
	Up     bool   // by the cluster's word
}

// ImageSource is the rest of the cluster, as a driver sees it: the agent implements it.
type ImageSource interface {
	// FindImage asks the cluster what a name or a digest of an image means; nil when it knows no such image. An error says that
	// the cluster could not be asked.
	FindImage(ctx context.Context, ref string) (*ClusterImage, error)
	// ReadBlob opens content on a holder from an offset to its end. It ends with ctx. ErrNoContent, ErrHolderBusy, or any other
	// error when the holder cannot be reached.
	ReadBlob(ctx context.Context, from ImageHolder, digest string, offset int64) (io.ReadCloser, error)
	// Stored says that an image has become whole on this machine. It does not block.
	Stored(digest string)
}

// MaxImageBytes bounds one archive, and each piece of an image.
const MaxImageBytes = 64 << 30
