package jobspecs

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Rooms are used again, also after errors and for jobs that do not fit in: what was made in one stays what it is.
func TestWorkroomsKeepNothing(t *testing.T) {
	example, diags := Parse(Source{Data: Example()}, Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	text := func(id string, groups int) []byte {
		j := *example
		j.ID, j.Name, j.TaskGroups = id, id, nil
		for i := range groups {
			g := example.TaskGroups[0]
			g.Name = fmt.Sprint(id, "-", i)
			j.TaskGroups = append(j.TaskGroups, g)
		}
		data, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			data := text(fmt.Sprintf("job-%d", i), 1+7*(i%3))
			first, diags := ParseJSON(data)
			if diags.HasErrors() {
				t.Error(diags)
				return
			}
			for n := range 50 {
				cut := data[:len(data)*n/50]
				if _, diags := ParseJSON(cut); !diags.HasErrors() {
					t.Errorf("%d of %d bytes are a job", len(cut), len(data))
				}
				twice := strings.Replace(string(data), `"Name":`, `"Name":"x","Name":`, 1)
				if _, diags := ParseJSON([]byte(twice)); !diags.HasErrors() {
					t.Error("a name that is used twice is taken")
				}
				if _, diags := ParseJSON(text("other", n%12)); n%12 > 0 && diags.HasErrors() {
					t.Error(diags)
				}
				got, err := json.Marshal(first)
				if err != nil || string(got) != string(data) {
					t.Errorf("job %d became %s (%v), was %s", i, got, err, data)
					return
				}
			}
		})
	}
	wg.Wait()
}
