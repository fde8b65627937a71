package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

func TestSearch(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for i := range 30 {
			h.must(state.RegisterJob{Job: testJob(fmt.Sprintf("many-%02d", i), 1)})
		}
		elsewhere := testJob("many-elsewhere", 1)
		elsewhere.Namespace = "elsewhere"
		h.must(state.RegisterJob{Job: elsewhere})
		a := h.place("web", "n1")
		for _, at := range []string{"s1", "s2", "c1"} {
			c := h.client(at)
			res, err := c.Search(t.Context(), SearchRequest{Prefix: a.ID[:6]}, "")
			if err != nil || len(res.Matches) != 5 || cmp.Diff(res.Matches[ContextAllocs], []string{a.ID}) != "" || res.Truncations[ContextAllocs] {
				t.Errorf("at %s: an allocation: %+v, %v", at, res, err)
			}
		}
		c := h.client("s1")
		res, err := c.Search(t.Context(), SearchRequest{Prefix: "many", Context: ContextJobs}, "")
		if err != nil || len(res.Matches) != 1 || len(res.Matches[ContextJobs]) != maxMatches || !res.Truncations[ContextJobs] {
			t.Errorf("many jobs: %d, truncated %v, %v", len(res.Matches[ContextJobs]), res.Truncations, err)
		}
		res, err = c.Search(t.Context(), SearchRequest{Prefix: "many-e"}, "*")
		if err != nil || cmp.Diff(res.Matches[ContextJobs], []string{"many-elsewhere"}) != "" {
			t.Errorf("of another namespace: %+v, %v", res, err)
		}
		if res, err = c.Search(t.Context(), SearchRequest{Prefix: "many-e"}, ""); err != nil || len(res.Matches[ContextJobs]) != 0 {
			t.Errorf("of the default namespace: %+v, %v", res, err)
		}
		fuzzy, err := c.SearchFuzzy(t.Context(), FuzzySearchRequest{Text: "WEB"}, "")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]FuzzyMatch{
			ContextJobs: {{"web", []string{"default"}}}, ContextAllocs: {{"web.web[0]", []string{"default", a.ID}}},
			ContextNodes: {}, ContextTasks: {}, ContextImages: {}, ContextCommands: {},
		}
		want[ContextGroups] = fuzzy.Matches[ContextGroups] // one of every job
		if diff := cmp.Diff(want, fuzzy.Matches); diff != "" || len(fuzzy.Matches[ContextGroups]) != maxMatches || !fuzzy.Truncations[ContextGroups] {
			t.Errorf("fuzzy, groups truncated %v:\n%s", fuzzy.Truncations, diff)
		}
		fuzzy, err = c.SearchFuzzy(t.Context(), FuzzySearchRequest{Text: "bin/tr", Context: ContextCommands}, "elsewhere")
		if err != nil || cmp.Diff(fuzzy.Matches[ContextCommands], []FuzzyMatch{{"/bin/true", []string{"elsewhere", "many-elsewhere", "web", "server"}}}) != "" {
			t.Errorf("what tasks run: %+v, %v", fuzzy, err)
		}
		_, err = c.SearchFuzzy(t.Context(), FuzzySearchRequest{Text: "w"}, "")
		wantCode(t, err, CodeInvalid)
		_, err = c.SearchFuzzy(t.Context(), FuzzySearchRequest{Text: "web", Context: ContextNodePools}, "")
		wantCode(t, err, CodeInvalid)
		_, err = c.Search(t.Context(), SearchRequest{Prefix: strings.Repeat("x", maxSearch+1)}, "")
		wantCode(t, err, CodeInvalid)
		_, err = c.Search(t.Context(), SearchRequest{Context: "job"}, "")
		if e := wantCode(t, err, CodeInvalid); !strings.Contains(e.Next, "did you mean jobs?") {
			t.Errorf("a misspelt context: next is %q", e.Next)
		}
	})
}

func TestFuzzyOrder(t *testing.T) {
	b := bestMatches{text: "web"}
	for i := range 10 * maxMatches {
		b.offer(FuzzyMatch{ID: fmt.Sprintf("my-web-%03d", i)})
	}
	b.offer(FuzzyMatch{ID: "Web"})
	b.offer(FuzzyMatch{ID: "website"})
	b.offer(FuzzyMatch{ID: "other"})
	list, more := b.list()
	if len(list) != maxMatches || !more || list[0].ID != "Web" || list[1].ID != "website" || list[2].ID != "my-web-000" {
		t.Errorf("got %d, more %v: %+v", len(list), more, list[:3])
	}
}

func TestStatuses(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1")
		res, data := h.raw("c1:4646", "GET", "/v1/jobs/statuses?filter=ID+%3D%3D+%22web%22", nil, nil)
		var list []JobStatusItem
		if err := decodeStrict(data, &list); err != nil || len(list) != 1 || list[0].GroupCountSum != 1 || len(list[0].Allocs) != 1 || list[0].Allocs[0].ID != a.ID {
			t.Errorf("%s: %+v, %v", res.Status, list, err)
		}
	})
}
