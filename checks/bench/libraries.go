package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/clixnow/clixnow-go/checks/bench/peers/oapi"
	"github.com/clixnow/clixnow-go/checks/bench/peers/ogen"
)

func newResty(baseURL string) (client, error) {
	c := resty.New().SetBaseURL(baseURL).SetAuthScheme("ApiToken").SetAuthToken(token).SetTimeout(30 * time.Second)
	lead := handWrittenLead()
	check := func(resp *resty.Response, err error) error {
		if err == nil && resp.IsError() {
			return fmt.Errorf("%s: %s", resp.Status(), resp.Body())
		}
		return err
	}
	return client{
		read: func(ctx context.Context, t *tally) error {
			return pages(ctx, func(ctx context.Context, skip int) ([]handLead, error) {
				var page []handLead
				return page, check(c.R().SetContext(ctx).SetResult(&page).SetQueryParams(map[string]string{
					"orderBy": "Id", "count": strconv.Itoa(pageSize), "skip": strconv.Itoa(skip),
				}).Get(searchPath))
			}, func(l *handLead) { l.show(t) })
		},
		create: func(ctx context.Context) error {
			var created handResponse
			if err := check(c.R().SetContext(ctx).SetBody(lead).SetResult(&created).Post(leadsPath)); err != nil {
				return err
			}
			return checkID(created.LeadID)
		},
	}, nil
}

func newRetryable(baseURL string) (client, error) {
	c := retryablehttp.NewClient()
	c.Logger = nil
	return client{create: handCreate(baseURL, c.StandardClient(), standardCodec())}, nil
}

func newOAPI(baseURL string) (client, error) {
	authorize := func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "ApiToken "+token)
		return nil
	}
	c, err := oapi.NewClientWithResponses(baseURL, oapi.WithRequestEditorFn(authorize),
		oapi.WithHTTPClient(&http.Client{Transport: newTransport(), Timeout: 30 * time.Second}))
	if err != nil {
		return client{}, err
	}
	lead := oapiLead()
	return client{
		read: func(ctx context.Context, t *tally) error {
			var fault error
			err := pages(ctx, func(ctx context.Context, skip int) ([]oapi.Lead, error) {
				order, count := "Id", pageSize
				resp, err := c.SearchLeadsWithResponse(ctx,
					&oapi.SearchLeadsParams{OrderBy: &order, Count: &count, Skip: &skip})
				if err != nil {
					return nil, err
				}
				if resp.JSON200 == nil {
					return nil, fmt.Errorf("%s: %s", resp.Status(), resp.Body)
				}
				return *resp.JSON200, nil
			}, func(l *oapi.Lead) {
				times, err := parseDates(value(l.CreatedOn), value(l.UpdatedOn), value(l.FtdDate))
				if err != nil {
					fault = err
				}
				t.lead(l.Id, value(l.BrandId), times, value(l.Email), value(l.Status), oapiText(l.CrmId),
					value(l.BrandName),
					oapiText(l.ClickId), value(l.Sub2), value(l.SubCampaign), value(l.Keyword), value(l.Placement),
					value(l.ClientType))
			})
			if err != nil {
				return err
			}
			return fault
		},
		create: func(ctx context.Context) error {
			resp, err := c.CreateLeadWithResponse(ctx, lead)
			if err != nil {
				return err
			}
			if resp.JSON200 == nil {
				return fmt.Errorf("%s: %s", resp.Status(), resp.Body)
			}
			return checkID(resp.JSON200.LeadId)
		},
	}, nil
}

func oapiLead() oapi.CreateLeadRequest {
	l := handWrittenLead()
	return oapi.CreateLeadRequest{
		FirstName: l.FirstName, LastName: l.LastName, Email: l.Email, Phone: l.Phone, Password: l.Password,
		CountryCode:  l.CountryCode,
		LanguageCode: &l.LanguageCode, ReferralUrl: &l.ReferralURL, SubCampaign: &l.SubCampaign, Keyword: &l.Keyword,
		Placement: &l.Placement, ClickId: &l.ClickID, Sub2: &l.Sub2, DeviceType: &l.DeviceType,
		DeviceName: &l.DeviceName,
		OsName:     &l.OSName, Browser: &l.Browser, Carrier: &l.Carrier, IpAddress: &l.IPAddress,
	}
}

// value returns the value that p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func oapiText(v *oapi.NumberOrText) string {
	if v == nil {
		return ""
	}
	if text, err := v.AsNumberOrText1(); err == nil {
		return text
	}
	number, _ := v.AsNumberOrText0()
	return strconv.FormatInt(number, 10)
}

func parseDates(texts ...string) (times [3]time.Time, err error) {
	for i, text := range texts {
		if text == "" {
			continue
		}
		if times[i], err = parseDate(text); err != nil {
			return times, err
		}
	}
	return times, nil
}

// ogenToken sets the Authorization header of ogen's client.
type ogenToken struct{}

//nolint:revive,staticcheck // ogen generated this name
func (ogenToken) ApiToken(context.Context, ogen.OperationName) (ogen.ApiToken, error) {
	return ogen.ApiToken{APIKey: "ApiToken " + token}, nil
}

func newOgen(baseURL string) (client, error) {
	c, err := ogen.NewClient(baseURL, ogenToken{},
		ogen.WithClient(&http.Client{Transport: newTransport(), Timeout: 30 * time.Second}))
	if err != nil {
		return client{}, err
	}
	lead := ogenLead()
	return client{
		read: func(ctx context.Context, t *tally) error {
			var fault error
			err := pages(ctx, func(ctx context.Context, skip int) ([]ogen.Lead, error) {
				return c.SearchLeads(ctx, ogen.SearchLeadsParams{
					OrderBy: ogen.NewOptString("Id"), Count: ogen.NewOptInt(pageSize), Skip: ogen.NewOptInt(skip),
				})
			}, func(l *ogen.Lead) {
				times, err := parseDates(l.CreatedOn.Value, l.UpdatedOn.Value, l.FtdDate.Value)
				if err != nil {
					fault = err
				}
				t.lead(l.ID, l.BrandId.Value, times, l.Email.Value, l.Status.Value, ogenText(l.CrmId),
					l.BrandName.Value,
					ogenText(l.ClickId), l.Sub2.Value, l.SubCampaign.Value, l.Keyword.Value, l.Placement.Value,
					l.ClientType.Value)
			})
			if err != nil {
				return err
			}
			return fault
		},
		create: func(ctx context.Context) error {
			created, err := c.CreateLead(ctx, lead)
			if err != nil {
				return err
			}
			return checkID(created.LeadId)
		},
	}, nil
}

func ogenLead() *ogen.CreateLeadRequest {
	l, text := handWrittenLead(), ogen.NewOptString
	return &ogen.CreateLeadRequest{
		FirstName: l.FirstName, LastName: l.LastName, Email: l.Email, Phone: l.Phone, Password: l.Password,
		CountryCode:  l.CountryCode,
		LanguageCode: text(l.LanguageCode), ReferralUrl: text(l.ReferralURL), SubCampaign: text(l.SubCampaign),
		Keyword:   text(l.Keyword),
		Placement: text(l.Placement), ClickId: text(l.ClickID), Sub2: text(l.Sub2), DeviceType: text(l.DeviceType),
		DeviceName: text(l.DeviceName), OsName: text(l.OSName), Browser: text(l.Browser), Carrier: text(l.Carrier),
		IpAddress: text(l.IPAddress),
	}
}

func ogenText(v ogen.OptNilNumberOrText) string {
	if v.Value.IsInt64() {
		return strconv.FormatInt(v.Value.Int64, 10)
	}
	return v.Value.String
}
