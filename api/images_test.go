package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/state"
)

// imagesFake keeps one image, whose only part is testPart.
type imagesFake struct{ a *agent }

const testPart = "all that the image is"

func testDigest() string { return "sha256:" + strings.Repeat("a", 64) }

func imageName(*matrix) string   { return "app:1" }
func imageDigest(*matrix) string { return testDigest() }

func testImage() *state.Image {
	return &state.Image{Digest: testDigest(), MediaType: "x", Names: []string{"docker.io/library/app:1"}, Size: 10, Copies: 1}
}

func (h *herd) importTestImage() {
	h.t.Helper()
	h.must(state.RaiseLevel{Term: testTerm, Level: 2})
	h.must(state.UpsertImage{Image: testImage()})
	h.must(state.HoldImages{NodeID: "n1", Boot: 1, Digests: []string{testDigest()}})
}

func (f imagesFake) CanImport() bool { return f.a.id != "s3" }

func (f imagesFake) Import(_ context.Context, req *ImageImportRequest, archive io.Reader) (*ImageImportResponse, error) {
	data, err := io.ReadAll(archive)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(data), "bad") {
		return nil, NewError(CodeInvalid, "", "it is bad")
	}
	img := testImage()
	img.Source, img.Copies, img.Size = req.Source, req.Copies, int64(len(data))
	return &ImageImportResponse{NodeID: f.a.id, Images: []*state.Image{img}, Index: 5}, nil
}

type partFake struct{ *bytes.Reader }

func (partFake) Close() error { return nil }

func (f imagesFake) OpenBlob(_ context.Context, digest string) (ImageBlob, error) {
	if digest != testDigest() {
		return nil, NewError(CodeNotFound, "", "no such part")
	}
	return partFake{bytes.NewReader([]byte(testPart))}, nil
}

func (f imagesFake) resolve(_ context.Context, images []ImageQuestion) []ImageAnswer {
	var out []ImageAnswer
	for _, q := range images {
		out = append(out, ImageAnswer{Image: q.Image, Digest: testDigest()})
	}
	return out
}

func (f imagesFake) ImageOrders(context.Context, *ImagePollRequest) (*ImagePollResponse, error) {
	return &ImagePollResponse{ClusterID: "herd"}, nil
}

func (f imagesFake) HoldImages(context.Context, *ImageHoldRequest) (*WriteResponse, error) {
	return &WriteResponse{Index: 3}, nil
}

func (f imagesFake) AnnounceImage(context.Context, *ImageAnnounceRequest) (*WriteResponse, error) {
	return &WriteResponse{Index: 3}, nil
}

func TestImportGoesWhereItShould(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		n := testNode("n1")
		n.ID, n.Drivers = "c1", map[string]state.DriverInfo{"containerd": {Detected: true, Healthy: true}}
		n.PeerAddr = "c1:4647"
		h.must(state.RegisterNode{Node: n})
		for _, c := range []struct{ at, node, want string }{
			{"s1", "", "s1"}, {"s1", "c1", "c1"}, {"s2", "c1", "c1"}, {"c1", "c1", "c1"}, {"c1", "", "c1"},
			{"s3", "", "c1"}, // it keeps none itself
		} {
			res, err := h.client(c.at).ImportImage(t.Context(), ImageImportRequest{NodeID: c.node, Name: "app:1", Source: "a b.tar", Copies: 2},
				io.MultiReader(strings.NewReader("some "), strings.NewReader("bytes")), -1)
			if err != nil || res.NodeID != c.want || res.Images[0].Size != 10 || res.Images[0].Source != "a b.tar" || res.Images[0].Copies != 2 {
				t.Errorf("at %s for %q: %+v, %v; want it at %s", c.at, c.node, res, err, c.want)
			}
		}
		_, err := h.client("s1").ImportImage(t.Context(), ImageImportRequest{NodeID: "nobody"}, strings.NewReader("x"), 1)
		wantCode(t, err, CodeNotFound)
		_, err = h.client("s3").ImportImage(t.Context(), ImageImportRequest{NodeID: "s3"}, strings.NewReader("x"), 1)
		wantCode(t, err, CodeUnavailable)
		bad := append([]byte("bad"), make([]byte, 8<<20)...)
		for _, at := range []string{"s1", "s3"} { // all of it is taken, so that the answer arrives
			_, err = h.client(at).ImportImage(t.Context(), ImageImportRequest{}, bytes.NewReader(bad), int64(len(bad)))
			wantCode(t, err, CodeInvalid)
		}
		_, err = h.client("s1").ImportImage(t.Context(), ImageImportRequest{}, strings.NewReader(""), 0)
		wantCode(t, err, CodeInvalid)
	})
}

func TestBlobFromAnyByte(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.peerClient("c1", "s1")
		for _, from := range []int64{0, 4, int64(len(testPart)) - 1} {
			body, err := c.ReadImageBlob(t.Context(), testDigest(), from)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(body)
			if err := errors.Join(err, body.Close()); err != nil || string(data) != testPart[from:] {
				t.Errorf("from %d: %q, %v", from, data, err)
			}
		}
		_, err := c.ReadImageBlob(t.Context(), "sha256:"+strings.Repeat("b", 64), 0)
		wantCode(t, err, CodeNotFound)
		for _, path := range []string{"..%2F..%2Fetc%2Fpasswd", "sha256:" + strings.Repeat("A", 64), "sha256:aa"} {
			res, data := h.raw("c1:4647", http.MethodGet, "/v1/node-protocol/images/blob/"+path, http.Header{headerNodeID: {"s1"}}, nil)
			expectError(t, res, data, CodeInvalid)
		}
	})
}

func TestTagsBecomeDigests(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.importTestImage2()
		c := h.client("s2")
		job := testJob("web", 1)
		task := &job.TaskGroups[0].Tasks[0]
		task.Driver, task.Config = "docker", map[string]any{"image": "app:1"}
		pinned := "app:1@" + testDigest()
		stored := func() string {
			v, _, err := c.Job(t.Context(), "web", QueryOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return v.TaskGroups[0].Tasks[0].Config["image"].(string)
		}
		plan, err := c.PlanJobAs(t.Context(), &JobPlanRequest{Job: job}, QueryOptions{})
		if err != nil || len(plan.Pins) != 1 || plan.Pins[0] != (ImagePin{TaskGroup: "web", Task: "server", Image: "app:1", Digest: testDigest(), Imported: true}) {
			t.Errorf("plan %+v, %v", plan, err)
		}
		res, err := c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job}, WriteOptions{})
		if err != nil || len(res.Pins) != 1 || stored() != pinned {
			t.Errorf("registered %+v, %v: %s", res, err, stored())
		}
		if res, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job}, WriteOptions{}); err != nil || res.Changed {
			t.Errorf("the same again: %+v, %v", res, err)
		}
		moved := testImage()
		moved.Digest = "sha256:" + strings.Repeat("b", 64)
		h.must(state.UpsertImage{Image: moved})
		if res, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job}, WriteOptions{}); err != nil || !res.Changed || stored() != "app:1@"+moved.Digest {
			t.Errorf("after the tag moved: %+v, %v: %s", res, err, stored())
		}
		if _, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job, Pin: PinOff}, WriteOptions{}); err != nil || stored() != "app:1" {
			t.Errorf("unpinned: %v: %s", err, stored())
		}
		task.Config["image"] = "redis"
		if res, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job}, WriteOptions{}); err != nil || res.Pins != nil || stored() != "redis" {
			t.Errorf("an image of a registry: %+v, %v: %s", res, err, stored())
		}
		_, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job, Pin: PinRequired}, WriteOptions{})
		wantCode(t, err, CodeInvalid)
		_, err = c.RegisterJob(t.Context(), &JobRegisterRequest{Job: job, Pin: "maybe"}, WriteOptions{})
		wantCode(t, err, CodeInvalid)
	})
}

func (h *herd) importTestImage2() {
	h.must(state.RegisterNode{Node: testNode("n1")})
	h.importTestImage()
}

func TestPinImages(t *testing.T) {
	job := testJob("web", 1)
	g := &job.TaskGroups[0]
	base := g.Tasks[0]
	g.Tasks = nil
	for _, image := range []string{"app", "host:5000/a/b", "app:1", "app:1@" + testDigest(), "file:///x.tar", "app:${meta.v}", "Not A Name"} {
		task := base
		task.Config = map[string]any{"image": image}
		g.Tasks = append(g.Tasks, task)
	}
	g.Tasks = append(g.Tasks, base) // without an image
	PinImages(job, func(string, *state.Task) (string, bool) { return testDigest(), false })
	var got []string
	for _, task := range g.Tasks {
		text, _ := task.Config["image"].(string)
		got = append(got, strings.ReplaceAll(text, testDigest(), "D"))
	}
	want := []string{"app:latest@D", "host:5000/a/b:latest@D", "app:1@D", "app:1@D", "file:///x.tar", "app:${meta.v}", "Not A Name", ""}
	if !slices.Equal(got, want) {
		t.Errorf("pinned %v, want %v", got, want)
	}
}

func TestImagesAreListed(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.importTestImage2()
		c := h.client("c1")
		items, meta, err := c.Images(t.Context(), QueryOptions{})
		if err != nil || len(items) != 1 || items[0].Live != 1 || items[0].Holders != 1 {
			t.Fatalf("%+v, %v", items, err)
		}
		for _, ref := range []string{"app:1", "app", testDigest(), "sha256:aaa", "aaaa", "docker.io/library/app:1"} {
			v, err := c.FindImage(t.Context(), ref, QueryOptions{})
			if err != nil || v.Digest != testDigest() || v.HolderNodes[0].Name != "name-n1" {
				t.Errorf("%s: %+v, %v", ref, v, err)
			}
		}
		if _, err := c.FindImage(t.Context(), "bpp", QueryOptions{}); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, err := c.RemoveImage(t.Context(), "app:1", false, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		items, _, err = c.Images(t.Context(), QueryOptions{Index: meta.Index})
		if err != nil || len(items) != 0 {
			t.Errorf("after it was removed: %+v, %v", items, err)
		}
	})
}
