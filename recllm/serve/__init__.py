"""A server: events in, lists with reasons out, on one machine, in real time, without losing an event.

`state` keeps what is acknowledged; `live` answers from it; `web` speaks HTTP and checks who may ask; `page` is what
people see in a browser.
"""
