package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func digestOf(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func testImage(c string, names ...string) *Image {
	return &Image{Digest: digestOf(c), MediaType: "application/vnd.oci.image.manifest.v1+json", Names: names, Size: 100, Platforms: []string{"linux/amd64"}, Copies: 2}
}

// node2 registers a node whose agent knows level 2.
func (h *herd) node2(id string) {
	h.t.Helper()
	n := testNode(id)
	n.Level = 2
	h.must(RegisterNode{Node: n})
}

func (h *herd) level2() *herd {
	h.must(RaiseLevel{Term: testTerm, Level: 2, Time: 3})
	return h
}

func held(h *herd, node string, digests ...string) {
	h.t.Helper()
	h.must(HoldImages{NodeID: node, Boot: h.snap().Node(node).Boot, Digests: digests})
}

func withImage(j *Job, ref string) *Job {
	j.TaskGroups[0].Tasks[0].Driver = "docker"
	j.TaskGroups[0].Tasks[0].Config = map[string]any{"image": ref}
	return j
}

const app1 = "docker.io/library/app:1"

func TestParseImage(t *testing.T) {
	for in, want := range map[string]string{
		"app": "docker.io/library/app:latest", "app:1": app1, "team/app:1": "docker.io/team/app:1", "docker.io/app:1": app1,
		"index.docker.io/library/app:1": app1, "localhost/app": "localhost/app:latest", "localhost:5000/a/b:v1.2_3": "localhost:5000/a/b:v1.2_3",
		"10.0.0.1:5000/app": "10.0.0.1:5000/app:latest", "quay.io/x/y__z:A": "quay.io/x/y__z:A", "a-b--c.d/e": "a-b--c.d/e:latest",
		"[::1]:5000/app:1":       "[::1]:5000/app:1",
		"app:1@" + digestOf("a"): app1 + "@" + digestOf("a"), digestOf("b"): "@" + digestOf("b"),
	} {
		ref, err := ParseImage(in)
		got := ref.Name
		if ref.Digest != "" {
			got += "@" + ref.Digest
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "App", "a b", "app:", "app:.x", "app@sha256:00", "../app", "a/../b", "a//b", "/app", "app:1:2", "a_-b", "app@" + digestOf("A"), "host:port/" + strings.Repeat("a", 300),
		"app\x00", "app:1@", "app:-", "ho st.x/app",
	} {
		if ref, err := ParseImage(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, ref)
		}
	}
	if got := FamiliarImage(app1); got != "app:1" {
		t.Error(got)
	}
}

func TestImportedImage(t *testing.T) {
	h := newHerd(t)
	h.refuse(UpsertImage{Image: testImage("a", app1)}, ErrLevel)
	h.level2()
	h.node2("n1")
	img := testImage("a", app1)
	img.Holders = []string{"n1"}
	w := h.store.Watch(KeyImages())
	h.must(UpsertImage{RequestID: "r", Image: img, Time: 50})
	select {
	case <-w.C():
	default:
		t.Error("nobody was woken")
	}
	row := h.snap().FindImage(ImageRef{Name: app1})
	if row == nil || row.Digest != digestOf("a") || row.CreatedAt != 50 || row.CreateIndex == 0 || !slices.Equal(row.Holders, []string{"n1"}) {
		t.Fatalf("row %+v", row)
	}
	h.must(UpsertImage{RequestID: "r", Image: img, Time: 60})
	if again := h.snap().Image(digestOf("a")); again != row {
		t.Error("a retried request changed the row")
	}
	for name, bad := range map[string]*Image{
		"digest": {Digest: "sha256:../../etc"}, "size": {Digest: digestOf("a"), Size: -1}, "name": testImage("a", "App"), "short name": testImage("a", "app:1"),
		"copies": {Digest: digestOf("a"), Copies: 99}, "names": testImage("a", repeat(65, func(i int) string { return fmt.Sprintf("docker.io/library/a:%d", i) })...),
		"source": {Digest: digestOf("a"), Source: "a\nb"}, "missing": {Digest: digestOf("a"), Missing: []string{"x"}},
	} {
		if _, err := Encode(UpsertImage{Image: bad}); err == nil {
			t.Errorf("bad %s is encoded", name)
		}
	}
}

func TestMovedNameLeavesWhatJobsNeed(t *testing.T) {
	h := newHerd(t).level2()
	h.node2("n1")
	h.must(UpsertImage{Image: testImage("a", app1)})
	held(h, "n1", digestOf("a"))
	h.job(withImage(testJob("pinned", 1), "app:1@"+digestOf("a")))
	h.must(UpsertImage{Image: testImage("b", app1, "docker.io/library/app:2")})
	if row := h.snap().Image(digestOf("a")); row == nil || row.Removed || row.Names != nil {
		t.Errorf("the image that a job needs: %+v", row)
	}
	if row := h.snap().FindImage(ImageRef{Name: app1}); row == nil || row.Digest != digestOf("b") {
		t.Errorf("the name means %+v", row)
	}
	h.must(StopJob{Namespace: "default", JobID: "pinned"})
	h.must(UpsertImage{Image: testImage("c", "docker.io/library/other:1")})
	if row := h.snap().Image(digestOf("a")); row == nil || !row.Removed {
		t.Errorf("nobody needs it, a holder has it: %+v", row)
	}
	held(h, "n1")
	if row := h.snap().Image(digestOf("a")); row != nil {
		t.Errorf("no holder has it: %+v", row)
	}
}

func TestRemoveImage(t *testing.T) {
	h := newHerd(t).level2()
	h.node2("n1")
	h.node2("n2")
	h.must(UpsertImage{Image: testImage("a", app1, "docker.io/library/app:2")})
	held(h, "n1", digestOf("a"))
	held(h, "n2", digestOf("a"))
	h.refuse(RemoveImage{Ref: ImageRef{Name: "docker.io/library/none:1"}}, ErrNotFound)
	h.job(withImage(testJob("web", 1), "app:1"))
	h.refuse(RemoveImage{Ref: ImageRef{Name: app1}}, ErrConflict)
	h.refuse(RemoveImage{Ref: ImageRef{Digest: digestOf("a")}}, ErrConflict)
	h.must(RemoveImage{Ref: ImageRef{Name: "docker.io/library/app:2"}}) // the job does not go by it
	if row := h.snap().Image(digestOf("a")); row == nil || row.Removed || !slices.Equal(row.Names, []string{app1}) {
		t.Fatalf("%+v", row)
	}
	err, _ := h.try(RemoveImage{Ref: ImageRef{Name: app1}}).(error)
	if err == nil || !strings.Contains(err.Error(), `job "web" in namespace "default"`) {
		t.Errorf("the refusal says %v", err)
	}
	h.must(RemoveImage{Ref: ImageRef{Name: app1}, Force: true})
	row := h.snap().Image(digestOf("a"))
	if row == nil || !row.Removed || h.snap().FindImage(ImageRef{Digest: digestOf("a")}) != nil {
		t.Fatalf("%+v", row)
	}
	img := testImage("a", app1)
	h.must(UpsertImage{Image: img, Restored: true}) // a holder that has not heard yet
	if row := h.snap().Image(digestOf("a")); !row.Removed {
		t.Error("a holder brought a removed image back")
	}
	held(h, "n1")
	h.down("n2")
	h.must(CollectGarbage{Term: testTerm, Nodes: []string{"n2"}})
	if h.snap().Node("n2") == nil && h.snap().Image(digestOf("a")) != nil {
		t.Error("the last holder is gone, the row is not")
	}
}

func TestLiveCopiesOfOldVersionsNeedTheirImage(t *testing.T) {
	h := newHerd(t).level2()
	h.node2("n1")
	h.must(UpsertImage{Image: testImage("a", app1)})
	j := h.job(withImage(testJob("web", 1), "app:1@"+digestOf("a")))
	a := h.place(j, 0, "n1")
	h.must(UpsertImage{Image: testImage("b", app1)})
	h.job(withImage(testJob("web", 1), "app:1@"+digestOf("b")))
	h.refuse(RemoveImage{Ref: ImageRef{Digest: digestOf("a")}}, ErrConflict)
	h.report(a, 1, ClientComplete)
	h.must(RemoveImage{Ref: ImageRef{Digest: digestOf("a")}})
}

func TestHolders(t *testing.T) {
	h := newHerd(t).level2()
	h.must(UpsertImage{Image: testImage("a", app1)})
	h.refuse(HoldImages{NodeID: "none", Boot: 1, Digests: []string{digestOf("a")}}, ErrNotFound)
	h.node2("n0")
	h.refuse(HoldImages{NodeID: "n0", Boot: 9, Digests: []string{digestOf("a")}}, ErrConflict)
	for i := range MaxImageHolders + 2 {
		id := fmt.Sprintf("n%d", i)
		h.node2(id)
		held(h, id, digestOf("a"), digestOf("f")) // what the cluster does not know is no matter
	}
	row := h.snap().Image(digestOf("a"))
	if len(row.Holders) != MaxImageHolders || slices.Contains(row.Holders, "n65") || h.snap().Image(digestOf("f")) != nil {
		t.Fatalf("%d holders: %v", len(row.Holders), row.Holders)
	}
	h.down("n7")
	if live := h.snap().LiveHolders(row); len(live) != MaxImageHolders-1 {
		t.Errorf("%d live holders", len(live))
	}
	held(h, "n65", digestOf("a"))
	if row := h.snap().Image(digestOf("a")); slices.Contains(row.Holders, "n7") || !slices.Contains(row.Holders, "n65") {
		t.Errorf("a holder that is down keeps its place: %v", row.Holders)
	}
	data := saved(t, h.snap())
	other := NewStore()
	if err := other.Restore(strings.NewReader(string(data))); err != nil {
		t.Fatal(err)
	}
	if string(saved(t, other.Snapshot())) != string(data) || len(h.snap().Hash().Diff(other.Snapshot().Hash())) > 0 {
		t.Error("save, restore, save differs")
	}
	held(h, "n1")
	if row := h.snap().Image(digestOf("a")); slices.Contains(row.Holders, "n1") {
		t.Error("a node that lost the content is still a holder")
	}
}

func TestRestoredImageTakesNoNames(t *testing.T) {
	h := newHerd(t).level2()
	h.must(UpsertImage{Image: testImage("b", app1)})
	h.must(UpsertImage{Image: testImage("a", app1, "docker.io/library/app:0"), Restored: true})
	if row := h.snap().FindImage(ImageRef{Name: app1}); row.Digest != digestOf("b") {
		t.Error("a forgotten image took a name")
	}
	if row := h.snap().FindImage(ImageRef{Name: "docker.io/library/app:0"}); row == nil || row.Digest != digestOf("a") {
		t.Errorf("%+v", row)
	}
}

func TestRestoredImageChangesNothingThatIsKnown(t *testing.T) {
	h := newHerd(t).level2()
	h.node2("n1")
	h.must(UpsertImage{Image: testImage("a", app1)})
	again := testImage("a", "docker.io/library/app:0")
	again.Copies, again.Holders = 0, []string{"n1"}
	h.must(UpsertImage{Image: again, Restored: true})
	row := h.snap().Image(digestOf("a"))
	if row.Copies != 2 || !slices.Equal(row.Names, []string{app1}) || !slices.Equal(row.Holders, []string{"n1"}) {
		t.Errorf("%+v", row)
	}
}

func TestImagesAreBounded(t *testing.T) {
	h := newHerd(t).level2()
	for i := range maxImages {
		img := testImage("0", fmt.Sprintf("docker.io/library/a:%d", i))
		img.Digest = fmt.Sprintf("sha256:%064x", i)
		if err, bad := h.store.ApplyCommand(h.index+1, testTerm, UpsertImage{Image: img}).(error); bad {
			t.Fatal(err)
		}
		h.index++
	}
	h.refuse(UpsertImage{Image: testImage("f", app1)}, ErrLimit)
}

func FuzzParseImage(f *testing.F) {
	for _, s := range []string{"app:1", "localhost:5000/a@" + digestOf("a"), "a..b", "[::1]/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseImage(s)
		if err != nil {
			return
		}
		if ref.Name != "" {
			again, err := ParseImage(ref.Name)
			if err != nil || again.Name != ref.Name {
				t.Errorf("%q is %q, which is %+v, %v", s, ref.Name, again, err)
			}
		}
		if strings.Contains(ref.Name+ref.Digest, "..") && !strings.Contains(s, "..") {
			t.Errorf("%q became %+v", s, ref)
		}
	})
}
