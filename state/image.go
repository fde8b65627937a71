package state

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Limits of images.
const (
	maxImages         = 1000
	maxImageNames     = 64
	maxImageMissing   = 64
	maxImagePlatforms = 64
	maxImageNameBytes = 255
	maxTagBytes       = 128
	maxImageRoot      = 4 << 20
)

// MaxImageHolders bounds Image.Holders. More copies than that may exist; nobody is sent to them.
const MaxImageHolders = 64

// MaxImageCopies bounds Image.Copies.
const MaxImageCopies = 16

// Image is what was imported into the cluster: a digest, the names that mean it, and the nodes that have all of its content. The
// content itself is on the nodes.
type Image struct {
	Digest    string   // of the index or the manifest: "sha256:" and 64 hexadecimal digits; the row's key
	MediaType string   // of what the digest names
	Names     []string `json:",omitempty"` // sorted, in full: "docker.io/library/app:1"; none when newer imports took them all
	RootSize  int64    // bytes of what the digest names itself
	Size      int64    // bytes of all content
	Platforms []string `json:",omitempty"` // that it can run on: "linux/amd64"
	Missing   []string `json:",omitempty"` // digests that the index names and the import did not bring: other platforms
	Source    string   `json:",omitempty"` // where it came from, for people: the file's name
	Copies    int      // nodes that should have it whether they run it or not
	Holders   []string `json:",omitempty"` // sorted IDs of nodes that have all of its content, up and down ones
	Removed   bool     `json:",omitempty"` // an operator removed it; the row stays until no holder has the content any more

	CreatedAt   int64 // cluster time of the first import, nanoseconds since the Unix epoch
	CreateIndex uint64
	ModifyIndex uint64
}

// ImageRef is the name of an image, read: Name in full with its tag, or Digest, or both.
type ImageRef struct {
	Name   string // "docker.io/library/app:1"; "" when the reference was a digest alone
	Digest string // "" when the reference has none
}

// ParseImage reads the name of an image as job files have it: "app", "app:1", "registry:5000/team/app:1@sha256:…", "sha256:…".
// Names come back as every tool of the field completes them: the registry docker.io, its folder library, the tag latest.
func ParseImage(ref string) (ImageRef, error) {
	if ValidDigest(ref) {
		return ImageRef{Digest: ref}, nil
	}
	name, digest, pinned := strings.Cut(ref, "@")
	if pinned && !ValidDigest(digest) {
		return ImageRef{}, fmt.Errorf("image %q: %q is not a digest: want sha256: and 64 hexadecimal digits", clipped(ref), clipped(digest))
	}
	full, err := fullImageName(name)
	if err != nil {
		return ImageRef{}, fmt.Errorf("image %q: %w", clipped(ref), err)
	}
	return ImageRef{Name: full, Digest: digest}, nil
}

func clipped(s string) string { return truncate(s, maxImageNameBytes) }

// ValidDigest reports whether s is "sha256:" and 64 lower-case hexadecimal digits: what may become part of a path.
func ValidDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(digits) != 64 {
		return false
	}
	return strings.Trim(digits, "0123456789abcdef") == ""
}

// fullImageName completes a name and checks it.
func fullImageName(name string) (string, error) {
	if len(name) > maxImageNameBytes {
		return "", fmt.Errorf("the name has %d bytes, at most %d", len(name), maxImageNameBytes)
	}
	host, path := splitHost(name)
	tag := "latest"
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		path, tag = path[:i], path[i+1:]
	}
	if host == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	for part := range strings.SplitSeq(path, "/") {
		if !imagePart(part) {
			return "", errors.New("want a name of lower-case letters, digits, '.', '_' and '-', in parts between '/', and a tag: registry/team/app:1")
		}
	}
	if len(tag) > maxTagBytes || tag == "" || tag[0] == '.' || tag[0] == '-' || strings.ContainsFunc(tag, func(c rune) bool { return c > 0x7f || !nameByte(byte(c)) }) {
		return "", fmt.Errorf("%q is not a tag: want letters, digits, '.', '_' and '-', at most %d", truncate(tag, maxTagBytes), maxTagBytes)
	}
	if !imageHost(host) {
		return "", fmt.Errorf("%q is not a registry's address", host)
	}
	return host + "/" + path + ":" + tag, nil
}

// splitHost takes off the registry: what stands before the first slash and looks like the name of a machine.
func splitHost(name string) (host, path string) {
	first, rest, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first {
		return "docker.io", name
	}
	if first == "index.docker.io" {
		first = "docker.io"
	}
	return first, rest
}

// imageHost checks a registry's address: a name or an IP, and perhaps a port.
func imageHost(host string) bool {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if v6, ok := strings.CutPrefix(name, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		return ok && v6 != "" && strings.Trim(v6, "0123456789abcdefABCDEF:") == ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") ||
			strings.ContainsFunc(label, func(c rune) bool { return c > 0x7f || c == '.' || c == '_' || !nameByte(byte(c)) }) {
			return false
		}
	}
	return true
}

// imagePart checks one part of a name: letters and digits, with '.', '_', '__' or any number of '-' between them.
func imagePart(part string) bool {
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	if part == "" || !alnum(part[0]) || !alnum(part[len(part)-1]) {
		return false
	}
	for i := 0; i < len(part); {
		j := i
		for j < len(part) && !alnum(part[j]) {
			j++
		}
		switch sep := part[i:j]; {
		case sep == "", sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
		i = j + 1
	}
	return true
}

// FamiliarImage is a name as people write it: without the parts that ParseImage adds.
func FamiliarImage(name string) string {
	if rest, ok := strings.CutPrefix(name, "docker.io/library/"); ok {
		return rest
	}
	return strings.TrimPrefix(name, "docker.io/")
}

// ShortDigest is a digest as people are shown it.
func ShortDigest(digest string) string {
	const shown = len("sha256:") + 12
	return digest[:min(len(digest), shown)]
}

// TaskImage is the image that a task names, and whether it is one that a cluster or a registry can resolve: no file of a node, no
// name that is known only when the task starts.
func (t *Task) TaskImage() (ref string, ok bool) {
	ref, ok = t.Config["image"].(string)
	if !ok || ref == "" || strings.HasPrefix(ref, "file://") || strings.Contains(ref, "${") {
		return ref, false
	}
	return ref, true
}

// Image returns an image by its digest, also a removed one.
func (s *Snapshot) Image(digest string) *Image { return s.images.get(digest) }

// Images yields every image in the order of digests, removed ones too.
func (s *Snapshot) Images() iter.Seq[*Image] { return s.images.all() }

// ImageCount is the number of images, removed ones too.
func (s *Snapshot) ImageCount() int { return s.images.rows.Len() }

// ImagesChangedAt is the index at which an image last changed, or went.
func (s *Snapshot) ImagesChangedAt() uint64 { return s.imagesAt }

// FindImage returns the image that a reference means, nil when the cluster has none: by its digest where it has one, else by its
// name.
func (s *Snapshot) FindImage(ref ImageRef) *Image {
	if ref.Digest != "" {
		if img := s.Image(ref.Digest); img != nil && !img.Removed {
			return img
		}
		return nil
	}
	for img := range s.Images() {
		if !img.Removed && slices.Contains(img.Names, ref.Name) {
			return img
		}
	}
	return nil
}

// needs reports whether a job names an image, by digest or by a name that means it now.
func (j *Job) needs(img *Image) bool {
	for i := range j.TaskGroups {
		for k := range j.TaskGroups[i].Tasks {
			text, ok := j.TaskGroups[i].Tasks[k].TaskImage()
			if !ok {
				continue
			}
			ref, err := ParseImage(text)
			if err != nil {
				continue
			}
			if ref.Digest != "" && ref.Digest == img.Digest || ref.Digest == "" && slices.Contains(img.Names, ref.Name) {
				return true
			}
		}
	}
	return false
}

// ImageUsers names the jobs that need an image: those that are not stopped, and those of which a live copy has a version that
// does. In order of namespace and ID.
func (s *Snapshot) ImageUsers(img *Image) []JobKey {
	return s.imageUsers(img, func(v, current *Job) bool { return current != nil && !current.Stop && current.Version == v.Version })
}

// imageUsers are the jobs of which a version that counts, or that a live copy has, needs the image.
func (s *Snapshot) imageUsers(img *Image, counts func(v, current *Job) bool) []JobKey {
	var out []JobKey
	for v := range s.versions.all() {
		if !v.needs(img) {
			continue
		}
		if counts(v, s.Job(v.Namespace, v.ID)) || s.versionLives(v) {
			out = append(out, JobKey{v.Namespace, v.ID})
		}
	}
	slices.SortFunc(out, func(a, b JobKey) int { return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ID, b.ID)) })
	return slices.Compact(out)
}

// versionLives reports whether a live copy has this version of its job.
func (s *Snapshot) versionLives(v *Job) bool {
	for a := range s.AllocsByJob(v.Namespace, v.ID) {
		if a.JobVersion == v.Version && s.Live(a) {
			return true
		}
	}
	return false
}

// LiveHolders are the holders of an image whose machines are up.
func (s *Snapshot) LiveHolders(img *Image) []*Node {
	var out []*Node
	for _, id := range img.Holders {
		if n := s.Node(id); n != nil && n.Status == NodeStatusReady {
			out = append(out, n)
		}
	}
	return out
}

// Validate checks what an agent says of an image that it imported.
func (img *Image) Validate() error {
	if err := img.admissible(); err != nil {
		return err
	}
	if img.RootSize < 0 || img.RootSize > maxImageRoot {
		return fmt.Errorf("its index or manifest has %d bytes, at most %d", img.RootSize, maxImageRoot)
	}
	for _, name := range img.Names {
		if full, err := fullImageName(name); err != nil || full != name {
			return fmt.Errorf("name %q is not a full name of an image", clipped(name))
		}
	}
	for _, text := range append([]string{img.Source, img.MediaType}, img.Platforms...) {
		if len(text) > maxTextBytes || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("%q is too long, or holds control characters", truncate(text, maxTextBytes))
		}
	}
	return nil
}
