package snippets

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/clixnow/clixnow-go"
)

func answer(w http.ResponseWriter, r *http.Request, lead *clixnow.EnsureLeadResponse) {
	target, err := url.Parse(lead.RedirectURL)
	if err != nil || target.Scheme != "https" || target.Host == "" {
		fmt.Fprintln(w, "Thank you. You are registered, and our partner will contact you.")
		return
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}
