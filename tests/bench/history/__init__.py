"""How fast does history write, beside a bare insert of the same rows?"""
