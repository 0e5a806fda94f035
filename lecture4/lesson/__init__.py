"""The lecture's claims, the lab that measures them, and the page that shows them."""
