package state

import (
	"fmt"
	"slices"
	"strings"
)

// UpsertImage stores an image that an agent imported. Its names are taken from the images that they meant before; what is left
// without a name, and is not needed by any job, is removed.
type UpsertImage struct {
	RequestID string `json:",omitempty"`
	Image     *Image
	Restored  bool `json:",omitempty"` // a holder knows an image that the cluster has forgotten: names that others have stay theirs
	Time      int64
}

// RemoveImage takes a name from an image or, with its last name or by its digest, removes it: its holders then drop it.
type RemoveImage struct {
	RequestID string
	Ref       ImageRef
	Force     bool // also when jobs need it
	Time      int64
}

// HoldImages says which images a node has whole. It is the node's whole word: of others it is no holder.
type HoldImages struct {
	NodeID  string
	Boot    uint64
	Digests []string
	Time    int64
}

func (UpsertImage) kind() string { return "UpsertImage" }
func (RemoveImage) kind() string { return "RemoveImage" }
func (HoldImages) kind() string  { return "HoldImages" }

func (UpsertImage) level() int { return 2 }
func (RemoveImage) level() int { return 2 }
func (HoldImages) level() int  { return 2 }

func (c UpsertImage) at() int64 { return c.Time }
func (c RemoveImage) at() int64 { return c.Time }
func (c HoldImages) at() int64  { return c.Time }

func (c UpsertImage) request() (id, object string) {
	if c.Image == nil {
		return c.RequestID, ""
	}
	return c.RequestID, "image " + c.Image.Digest
}

func (c RemoveImage) request() (id, object string) {
	return c.RequestID, "image " + c.Ref.Name + "@" + c.Ref.Digest
}

func (c UpsertImage) validate() error {
	if c.Image == nil {
		return fmt.Errorf("store an image: there is none: %w", ErrInvalid)
	}
	if err := c.Image.Validate(); err != nil {
		return fmt.Errorf("store image %s: %w: %w", truncate(c.Image.Digest, maxNameBytes), err, ErrInvalid)
	}
	return nil
}

// admissible reports why the state machine cannot store the image.
func (img *Image) admissible() error {
	if !ValidDigest(img.Digest) {
		return fmt.Errorf("digest %q: want sha256: and 64 hexadecimal digits", truncate(img.Digest, maxNameBytes))
	}
	if img.Size < 0 {
		return fmt.Errorf("size %d", img.Size)
	}
	for _, list := range [][]string{img.Names, img.Holders} {
		for _, s := range list {
			if s == "" || len(s) > maxImageNameBytes {
				return fmt.Errorf("a name of %d bytes", len(s))
			}
		}
	}
	for _, d := range img.Missing {
		if !ValidDigest(d) {
			return fmt.Errorf("missing digest %q", truncate(d, maxNameBytes))
		}
	}
	return checkRanges(
		inRange{"names", len(img.Names), 0, maxImageNames}, inRange{"holders", len(img.Holders), 0, MaxImageHolders},
		inRange{"missing parts", len(img.Missing), 0, maxImageMissing}, inRange{"platforms", len(img.Platforms), 0, maxImagePlatforms},
		inRange{"copies", img.Copies, 0, MaxImageCopies},
	)
}

func (c UpsertImage) apply(t *tx) (any, error) {
	if c.Image == nil {
		return nil, fmt.Errorf("store an image: there is none: %w", ErrInvalid)
	}
	if err := c.Image.admissible(); err != nil {
		return nil, fmt.Errorf("store image %q: %w: %w", truncate(c.Image.Digest, maxNameBytes), err, ErrInvalid)
	}
	img := *c.Image
	img.Names = sortedSet(img.Names)
	if c.Restored {
		img.Names = slices.DeleteFunc(img.Names, func(name string) bool {
			other := t.next.FindImage(ImageRef{Name: name})
			return other != nil && other.Digest != img.Digest
		})
	}
	img.Removed, img.CreatedAt, img.CreateIndex = false, t.now, t.index
	old := t.next.Image(img.Digest)
	switch {
	case old != nil && c.Restored && old.Removed:
		return Done{Index: t.index}, nil // the holder is about to be told to drop it
	case old != nil && c.Restored: // known after all: what the cluster says of it stands
		for _, holder := range img.Holders {
			t.addHolder(t.next.Image(img.Digest), holder)
		}
		return Done{Index: t.index}, nil
	case old != nil:
		img.Names = sortedSet(append(slices.Clone(old.Names), img.Names...))
		img.CreatedAt, img.CreateIndex = old.CreatedAt, old.CreateIndex
		img.Holders = append(slices.Clone(old.Holders), img.Holders...)
	case t.next.ImageCount() >= maxImages:
		return nil, fmt.Errorf("store image %s: there are %d already; remove some with `drover image remove`: %w", img.Digest, maxImages, ErrLimit)
	}
	if len(img.Names) > maxImageNames {
		return nil, fmt.Errorf("store image %s: it would have %d names, at most %d: %w", img.Digest, len(img.Names), maxImageNames, ErrLimit)
	}
	holders := sortedSet(img.Holders)
	img.Holders = holders[:min(len(holders), MaxImageHolders)]
	t.takeNames(&img)
	t.putImage(&img)
	t.pruneImages()
	return Done{Index: t.index}, nil
}

// takeNames takes the image's names from those that have them.
func (t *tx) takeNames(img *Image) {
	for _, other := range slices.Collect(t.next.Images()) {
		if other.Digest == img.Digest || !slices.ContainsFunc(other.Names, func(n string) bool { return slices.Contains(img.Names, n) }) {
			continue
		}
		o := *other
		o.Names = slices.DeleteFunc(slices.Clone(other.Names), func(n string) bool { return slices.Contains(img.Names, n) })
		t.putImage(&o)
	}
}

// pruneImages removes images without a name that no kept version of a job needs: nobody could ask for them again.
func (t *tx) pruneImages() {
	for _, img := range slices.Collect(t.next.Images()) {
		if len(img.Names) > 0 || img.Removed {
			continue
		}
		users := t.next.imageUsers(img, func(_, current *Job) bool { return current != nil && !current.Stop })
		if len(users) == 0 {
			t.retireImage(img)
		}
	}
}

// retireImage marks an image as removed. The row goes with its last holder: a machine that is away must be told when it returns.
func (t *tx) retireImage(old *Image) {
	img := *old
	img.Names, img.Removed = nil, true
	if len(img.Holders) == 0 {
		t.removeImage(&img)
		return
	}
	t.putImage(&img)
}

func (c RemoveImage) apply(t *tx) (any, error) {
	what := truncate(c.Ref.Name+c.Ref.Digest, maxImageNameBytes)
	img := t.next.FindImage(c.Ref)
	if img == nil {
		return nil, fmt.Errorf("remove image %q: %w", what, ErrNotFound)
	}
	left := slices.DeleteFunc(slices.Clone(img.Names), func(n string) bool { return n == c.Ref.Name })
	if c.Ref.Digest != "" {
		left = nil
	}
	gone := *img
	if len(left) > 0 {
		gone.Names, gone.Digest = []string{c.Ref.Name}, "" // only jobs that go by the name lose something
	}
	if users := t.next.ImageUsers(&gone); len(users) > 0 && !c.Force {
		return nil, fmt.Errorf("remove image %q: needed by %s; stop them first, or force it: %w", what, jobNames(users), ErrConflict)
	}
	if len(left) > 0 {
		kept := *img
		kept.Names = left
		t.putImage(&kept)
	} else {
		t.retireImage(img)
	}
	t.pruneImages()
	return Done{Index: t.index}, nil
}

// jobNames names a few jobs.
func jobNames(keys []JobKey) string {
	var names []string
	for _, k := range keys[:min(len(keys), 3)] {
		names = append(names, fmt.Sprintf("job %q in namespace %q", k.ID, k.Namespace))
	}
	if len(keys) > len(names) {
		names = append(names, fmt.Sprintf("%d more", len(keys)-len(names)))
	}
	return strings.Join(names, ", ")
}

func (c HoldImages) apply(t *tx) (any, error) {
	n := t.next.Node(c.NodeID)
	switch {
	case n == nil:
		return nil, fmt.Errorf("note the images of node %q: %w", truncate(c.NodeID, maxNameBytes), ErrNotFound)
	case n.Boot != c.Boot:
		return nil, fmt.Errorf("note the images of node %s: it is registered with boot counter %d, not %d: %w", n.ID, n.Boot, c.Boot, ErrConflict)
	case len(c.Digests) > maxImages:
		return nil, fmt.Errorf("note the images of node %s: %d, at most %d: %w", n.ID, len(c.Digests), maxImages, ErrLimit)
	}
	t.hold(c.NodeID, c.Digests)
	return Done{Index: t.index}, nil
}

// hold makes a node a holder of these images and of no other.
func (t *tx) hold(nodeID string, digests []string) {
	has := map[string]bool{}
	for _, d := range digests {
		has[d] = true
	}
	for _, img := range slices.Collect(t.next.Images()) {
		listed := slices.Contains(img.Holders, nodeID)
		switch {
		case listed && !has[img.Digest]:
			t.dropHolder(img, nodeID)
		case !listed && has[img.Digest]:
			t.addHolder(img, nodeID)
		}
	}
}

// addHolder lists a node; where the list is full, in place of one whose machine is down.
func (t *tx) addHolder(old *Image, nodeID string) {
	if slices.Contains(old.Holders, nodeID) {
		return
	}
	img := *old
	img.Holders = sortedSet(append(slices.Clone(old.Holders), nodeID))
	if len(img.Holders) > MaxImageHolders {
		down := slices.IndexFunc(img.Holders, func(id string) bool { return !t.next.nodeLives(id) })
		if down < 0 {
			return
		}
		img.Holders = slices.Delete(img.Holders, down, down+1)
	}
	t.putImage(&img)
}

func (t *tx) dropHolder(old *Image, nodeID string) {
	img := *old
	img.Holders = slices.DeleteFunc(slices.Clone(old.Holders), func(id string) bool { return id == nodeID })
	if len(img.Holders) == 0 {
		img.Holders = nil
	}
	if img.Removed && img.Holders == nil {
		t.removeImage(&img)
		return
	}
	t.putImage(&img)
}

func (t *tx) putImage(img *Image) {
	img.ModifyIndex = t.index
	if len(img.Names) == 0 {
		img.Names = nil
	}
	t.next.images.put(img.Digest, img)
	t.next.imagesAt = t.index
	t.changes.images = append(t.changes.images, img.Digest)
}

func (t *tx) removeImage(img *Image) {
	t.next.images.remove(img.Digest)
	t.next.imagesAt = t.index
	t.changes.images = append(t.changes.images, img.Digest)
}

// sortedSet is a sorted copy without doubles; nil of nothing.
func sortedSet(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil
	}
	return out
}
